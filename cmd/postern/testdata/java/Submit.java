import java.io.FileInputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Properties;
import javax.activation.DataHandler;
import javax.mail.*;
import javax.mail.internet.*;
import javax.mail.util.ByteArrayDataSource;

/**
 * Usage: Submit PROPERTIES SUBJECT COUNT RECIPIENT...: sends COUNT mails with a
 * Korean text and a file over one connection. Prints who got them, and who not.
 */
public class Submit {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        try (FileInputStream f = new FileInputStream(args[0])) {
            settings.load(f);
        }
        Session session = Session.getInstance(settings);
        session.setDebug(settings.getProperty("debug") != null);
        session.setDebugOut(System.out);
        Address[] to = InternetAddress.parse(String.join(",", Arrays.copyOfRange(args, 3, args.length)));
        try (Transport transport = session.getTransport(settings.getProperty("mail.transport.protocol"))) {
            transport.connect(settings.getProperty("user"), settings.getProperty("password"));
            for (int i = 0; i < Integer.parseInt(args[2]); i++) {
                MimeMessage mail = new MimeMessage(session);
                mail.setFrom(new InternetAddress("marketer@example.com", "마케터", "UTF-8"));
                mail.setRecipients(Message.RecipientType.TO, new Address[] {to[0]});
                mail.setSubject(args[1] + " " + i, "UTF-8");
                MimeBodyPart text = new MimeBodyPart();
                text.setText("{{Name}}님, 주문이 접수되었습니다.\n.\n끝\n", "UTF-8");
                MimeBodyPart file = new MimeBodyPart();
                file.setDataHandler(new DataHandler(new ByteArrayDataSource("a,b\r\n".repeat(20000).getBytes(StandardCharsets.US_ASCII), "application/octet-stream")));
                file.setFileName("orders.bin");
                mail.setContent(new MimeMultipart(text, file));
                mail.saveChanges();
                try {
                    transport.sendMessage(mail, to);
                } catch (SendFailedException e) {
                    System.out.println("sent " + Arrays.toString(e.getValidSentAddresses()) + " unsent " + Arrays.toString(e.getValidUnsentAddresses())
                        + " invalid " + Arrays.toString(e.getInvalidAddresses()));
                    for (Exception next = e; next != null; next = next instanceof MessagingException ? ((MessagingException) next).getNextException() : null) {
                        System.out.println(next.getMessage().trim());
                    }
                }
            }
        }
    }
}
