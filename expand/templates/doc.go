// Package templates fetches the templates of lists from where they are kept, and
// keeps them for a while. It reads and writes templates; what a template means for
// a mail, and whether its placeholders are right, is the matter of package expand.
//
// # Where templates are
//
// [Files]: a folder for each template, whose name is its ID, with template.html,
// template.txt, or both; subject.txt and purpose.txt (one line each) where wanted;
// pictures directly in images/. What desktops and editors leave behind (.DS_Store,
// Thumbs.db, names that end in ~) is passed over. Nothing outside of the folder of
// all templates is read, by no name and no link.
//
// [SES]: as the old system kept them. The texts are templates in Amazon SES, whose
// TemplateName is the ID; a table in DynamoDB has a row with the key TemplateID (S),
// the purpose in TemplateName (S) and the addresses of the pictures in ImageURLs (L
// of S); the pictures are in S3. A template without a row has neither purpose nor
// pictures, one whose row lacks ImageURLs no pictures. A row that is otherwise than that is an error that names row and place:
// a mail that lacks its pictures is worse than one that is refused. [ParseImageURL]
// says which addresses are understood; those that are not in S3 can only be linked.
//
// Texts are UTF-8, a byte order mark is taken off, and so are blanks around subject
// and purpose. The type of a picture is found from its octets: PNG, JPEG, GIF and
// WebP are taken. Names of pictures are in composed characters (NFC). The limits
// are [MaxSize], [MaxImage], [MaxImages] and [MaxCount].
//
// # How often the source is asked
//
// [Cache] asks once for each template and TTL, however many messages want it, and
// remembers errors for five seconds. It holds 100 templates and 50 MB. While the
// source cannot be asked, what it holds serves on, however old; that is said with
// the template, and logged once in an outage. A template that was removed, or that
// was made unusable, is refused as soon as that is known. Unknown names ask for the
// list of names once in five seconds, and no more of them.
//
// SES is asked once in 1.05 seconds, with a burst of two, the second tries of the
// SDK included: it throttles most calls that are not for sending at one a second,
// for all who use the account together. A call has ten seconds, an upload or a
// template with its pictures thirty.
//
// # Errors
//
// All are *mail.Error. Permanent ones are about the template and say what to mend:
// 550 5.1.1 with [ErrUnknown], 550 5.3.5 else. Those of a source that cannot be
// asked have the class that fits (Unreachable, Throttled, AccountWide, Temporary);
// Cache makes them Temporary, 451 4.4.x, where it has nothing to give instead. None
// names a path of this machine or repeats the query of an address.
//
// # Writing
//
// Put reads first and writes only what differs, so that doing it again does
// nothing; DryRun says in sentences what Put would do. Pictures are written before
// what shows them. Neither is one transaction: who reads meanwhile may see new
// pictures with an old text. In S3 nothing is ever deleted, for mails that were sent
// may link it; a picture that the row names is replaced where it lies.
//
// SES reads what is in braces as Handlebars and refuses what it cannot read, such as
// {{Name|fallback}}: such templates can live in files only.
//
// # Permissions
//
// To read: ses:GetEmailTemplate, ses:ListEmailTemplates, dynamodb:GetItem,
// dynamodb:BatchGetItem, s3:GetObject. To write, in addition:
// ses:CreateEmailTemplate, ses:UpdateEmailTemplate, dynamodb:UpdateItem,
// s3:PutObject.
package templates
