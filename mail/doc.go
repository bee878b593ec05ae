// Package mail is the vocabulary of Postern: the nouns that every other
// package speaks about, and nothing that touches a disk or a network.
//
//   - A submission is what a client handed over in one SMTP DATA.
//   - A [Message] is the part of it for one list, or the part for its ordinary
//     recipients. It has an [ID], a [MessageState] and pinned policy.
//   - A [Copy] is what one recipient gets of a message. It has a [State], its
//     own Message-ID and tag, and the values of the placeholders in it.
//   - An [Address] is a mailbox as somebody wrote it; [Address.Key] is how two
//     of them are compared.
//   - An [Error] is anything that went wrong, with a [Class] that says what to
//     do about it. Only the code that talks to an upstream chooses a class;
//     everybody else asks [ClassOf].
//   - [Content] is a rendered mail, in segments that copies share.
//
// The states of a copy and who moves it between them:
//
//	queued ──Claim──▶ sending ──Settle──▶ sent, failed, suppressed, unsubscribed
//	                     │  └───────────▶ deferred ──Claim──▶ sending …
//	                     └─ crash, timeout ─▶ uncertain ─ event or policy ─▶ …
//	queued, deferred, uncertain ──an operator──▶ cancelled
//	(expansion) ─ value missing ─▶ skipped
package mail
