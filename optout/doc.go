// Package optout lets a recipient choose what they receive: the token in every list
// copy's List-Unsubscribe header, the key ring that seals it, and the public pages
// that open it.
//
// # The token
//
// A token is self-contained: it holds who leaves which list and by which
// message, sealed, so that it works for as long as its key is kept, whatever
// the spool still holds. Before the seal is opened nothing in it can be read;
// a token with one changed bit names nobody ([ErrToken]). The same copy has the
// same token in every attempt, because the nonce is derived from what is sealed.
//
// A token has one purpose. That of a confirmation mail ([Keyring.SealConfirm]) is
// sealed with other keys, works for seven days and opens nothing but the page that
// confirms.
//
// # The key ring
//
// [OpenKeyring] reads data_dir/keyring.json (0600) and makes it when it is
// missing. The newest key seals; every key opens, for ever. [Keyring.Rotate]
// adds a key and removes none. Who loses the file breaks every link that was
// ever sent: back it up with the rest of data_dir.
//
// # The pages
//
// [Handler] serves three addresses below base_url. On each of them GET and HEAD change
// nothing: there is no JavaScript and no form that sends itself, because mail scanners
// follow links and run scripts. A POST is answered only after the change is on disk,
// never with a redirect or a cookie, and again with 200 whenever it is repeated; what
// cannot be stored is answered 503 with Retry-After.
//
//   - "/u/" + token: POST leaves the token's list (RFC 8058 §3.1), whatever the body
//     says. The page has one button.
//   - "/p/" + token, where {{Preferences}} leads: every listed list with a box, and a
//     button that leaves all. Only what the reader was shown and changed is changed. A
//     POST that is not of this form leaves the token's list. After a complaint coming
//     back needs a confirmation by mail; leaving never does.
//   - "/c/" + token, from that mail: POST subscribes, unless the person has left since.
//
// Whatever is not one of our tokens gets 400 and a page that says what to do, and from
// the same network too often 429. A token that is ours is never held up. Punctuation
// that a mail program has put behind a token is passed over.
//
// A list that is no longer configured can still be left.
//
// # The templates
//
// [Load] reads the pages from files (html/template, a style sheet, and the texts of
// each language), each in place of the built-in one, and tries every page in every
// language and state before anything is served.
//
// # What it never does
//
// It never shows, logs or redirects to an address or a token; the pages name
// the recipient only masked. They load nothing from anywhere.
package optout
