// Package optout lets a recipient leave a list: the token in every list copy's
// List-Unsubscribe header, the key ring that seals it, and the public page that
// opens it.
//
// # The token
//
// A token is self-contained: it holds who leaves which list and by which
// message, sealed, so that it works for as long as its key is kept, whatever
// the spool still holds. Before the seal is opened nothing in it can be read;
// a token with one changed bit names nobody ([ErrToken]). The same copy has the
// same token in every attempt, because the nonce is derived from what is sealed.
//
// # The key ring
//
// [OpenKeyring] reads data_dir/keyring.json (0600) and makes it when it is
// missing. The newest key seals; every key opens, for ever. [Keyring.Rotate]
// adds a key and removes none. Who loses the file breaks every link that was
// ever sent: back it up with the rest of data_dir.
//
// # The page
//
// [Handler] serves base_url + "/u/" + token:
//
//   - POST unsubscribes (RFC 8058 §3.1): no cookie, no login, no redirect, with
//     or without the body List-Unsubscribe=One-Click. It answers 200 only after
//     the opt-out is on disk, and again 200 whenever it is repeated. When the
//     opt-out cannot be stored it answers 503 with Retry-After.
//   - GET and HEAD change nothing: they show a page with a button that POSTs to
//     the same address. There is no JavaScript and no form that sends itself,
//     because mail scanners follow links and run scripts.
//   - Anything that is not one of our tokens gets 400 and a sentence that says
//     what to do.
//
// A list that is no longer configured can still be left. "/p/" + token, where
// {{Preferences}} leads, shows the same page until there is more to choose.
//
// # What it never does
//
// It never shows, logs or redirects to an address or a token; the page names
// the recipient only masked. It loads nothing from anywhere.
package optout
