<?php
// Submits one mail with PHPMailer.
use PHPMailer\PHPMailer\PHPMailer;

require '/usr/share/php/libphp-phpmailer/autoload.php';

$mail = new PHPMailer(true);
$mail->isSMTP();
$mail->Host = 'localhost';
$mail->Port = (int) getenv('PORT');
$mail->SMTPSecure = ['none' => '', 'starttls' => 'tls', 'implicit' => 'ssl'][getenv('TLS')];
$mail->SMTPAutoTLS = false;
$mail->SMTPOptions = ['ssl' => ['cafile' => 'ca.pem']];
$mail->SMTPAuth = getenv('MECHANISM') !== '';
$mail->AuthType = getenv('MECHANISM');
$mail->Username = 'marketer@example.com';
$mail->Password = getenv('PASSWORD');
$mail->CharSet = PHPMailer::CHARSET_UTF8;
$mail->setFrom('marketer@example.com', 'Marketer');
$mail->addAddress('promo@lists.example.com');
$mail->Subject = getenv('SUBJECT');
$mail->isHTML();
$mail->Body = '<p>Dear <b>{{Name}}</b></p>';
$mail->AltBody = "Dear {{Name}},\n.\n안녕하세요\n";
$mail->send();
