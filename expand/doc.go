// Package expand makes the copies of a list mail. It has two halves that meet in
// the values of a copy:
//
//   - [Compile] reads a mail once, when it is accepted, and turns it into fixed
//     pieces, already encoded for transfer, with slots between them;
//     [Compiled.Render] fills the slots for one copy.
//   - [Expander] reads the directory page by page after the mail was accepted and
//     stores, for each subscribed user, a copy with the values of
//     [Compiled.Fields]; [Fields] is the vocabulary of both, [Filter] a list's
//     choice of users. [Audience] decides who that is, for expansion and for those who
//     want to know beforehand.
//
// # From a mail to its copies
//
//  1. [CheckExpandable] refuses what a machine sent and what has been here before.
//  2. The MIME parts are split at their boundaries, without decoding them. What
//     cannot be changed for each recipient is refused: S/MIME, PGP, winmail.dat,
//     meeting requests.
//  3. Subject and the text/plain, text/html and AMP parts that are not attachments are
//     decoded, transfer encoding first, then charset, and searched for
//     placeholders in what the reader sees: {{field}} and {{field|fallback}},
//     wherever Word put tags, entities and line breaks into them.
//  4. HTML that is shown and has no text beside it gets one that is made from it and
//     compiled like the others; HTML beyond all measure stays alone.
//  5. A reader who is shown {{Unsubscribe}} nowhere gets a footer with the link in the
//     list's language; mail to a list for advertising gets, in every text, the footer
//     that shows who sends it and how to refuse, and a Subject that begins with
//     "(광고)". Footers are files: those of the folder footer, or others ([LoadFooters]).
//  6. The changed texts are written as UTF-8 in quoted-printable, or in base64 where
//     that is shorter. In quoted-printable a slot always
//     stands at the start of a line and ends with a soft break, so that its value
//     is encoded without a look at what is around it.
//  7. All else is written back octet for octet: attachments, pictures, boundaries.
//     Only what cannot travel in 7-bit lines of 998 octets becomes base64.
//
// # Templates
//
// With [Input.Template] the words of a mail stand where the template says {{Body}},
// in its HTML and in its text, and the mail's Subject where it says {{Subject}};
// attachments and pictures stay. Of the mail's page the content is taken: its style
// sheets hold for itself alone, tags that would leave the template's place are written
// as browsers read them, and pictures become no wider than the place. A page in which
// that is not possible is refused. {{image:NAME}} stands in the attributes that hold an
// address (src, srcset, href, background), in VML and conditional comments too, and in
// url() of a style attribute or style sheet; elsewhere the template is refused, as it
// is for {{Body}} in an attribute, a title or a conditional comment. What a mail's head
// says besides styles (base, link, scripts) has no place in a template, nor has an AMP
// part, the picture behind a page, or in a template of text alone a picture.
//
// # Hosted pictures
//
// With [Input.Host] the large pictures that HTML shows are put where everybody can
// fetch them, once for each content, and linked: PNG, JPEG, GIF and WebP with a
// Content-ID, referred to by attributes, in VML and conditional comments too, and by
// url() in a style attribute. It comes after the template and before the texts are
// compiled. A picture stays, and its addresses as they are, where anything else
// refers to it, such as a style sheet; where it is an attachment as well; and where
// Host fails, which [Compiled.Unhosted] says. Package hosting has a Host for S3.
//
// # Placeholders
//
// Case, blanks and full-width forms make no difference in a name. A placeholder
// stands in the Subject, in text, and in HTML's text and the attributes of links and
// captions (href, src, alt, title and their like), the conditional comments that
// Outlook shows included; not in other header fields, scripts, styles, templates of
// AMP and other comments. A value is verbatim in text, escaped in HTML,
// percent-encoded in an address; blanks around it are cut, and it is never searched
// for placeholders itself. It stands where the name began, and so looks as the name
// did. Where it is empty the fallback stands.
// {{Email}}, {{List}}, {{Date}}, {{Unsubscribe}} and {{Preferences}} are always
// known; a link of ours takes the place of the whole address that a client made of
// it. {{"{{"}}, with any quotation marks, shows what stands in them. A name that is
// not known, a placeholder that is not closed and those of other programs refuse the
// mail in a sentence that says what to write.
//
// # The header of a copy
//
// Of the sender's fields only From, Reply-To, Subject and those of MIME reach a
// copy. New are To with that one recipient, Date, Message-ID (the copy's tag at our
// host), List-Id, List-Unsubscribe, List-Unsubscribe-Post, X-Auto-Response-Suppress
// and X-Postern-Copy, which holds the tag and by which a copy that comes back is
// known. All of it is 7-bit; a value makes no new field.
//
// # Ordinary mail
//
// [Ordinary] is for relayed mail: the header loses what must not go on and gains
// what is missing, and the body stays as it is. [SevenBit] encodes what an upstream
// cannot carry so, and no more; the relay asks for it before it signs.
//
// # Review
//
// [Review] says of a mail that was compiled what a careful colleague would: a link
// that nobody can open, {Name} with single braces, an earlier mail below. It refuses
// nothing; docs/writing.md explains its warnings.
//
// # Promises
//
// The same copy and token render to the same octets. Render allocates nothing of
// the body's size. A Compiled that was stored by an older version can be loaded. No
// input makes the compiler panic; what it accepts, any MIME reader can read.
package expand
