// Package sign puts a DKIM signature (RFC 6376) on a copy just before it goes
// upstream.
//
// What it promises:
//
//   - [Open] reads every key once, at start, and names every problem at once.
//     Nothing is read from disk afterwards; [Keys] is safe for many goroutines.
//   - The key is chosen by the domain of the From header, because that is what
//     DMARC (RFC 9989) compares d= with: the exact domain, else the longest
//     parent domain that has a key, which relaxed alignment accepts.
//   - The signature is relaxed/relaxed with SHA-256, over the whole body (no
//     l=) and over a fixed list of fields. Those that a person or a mail
//     program acts on are named once more than they occur (over-signed, RFC
//     6376 §8.15), so that one added on the way breaks the signature. Those of a list
//     are so only where the mail has some: a mailing list that adds its own to an
//     ordinary mail is not to break it.
//   - The body is streamed segment by segment and never joined or changed.
//
// What it never does: sign what an upstream rewrites (Message-ID, Date,
// Return-Path, Received, Feedback-ID, X-SES-*); put two signatures on one mail
// (Amazon SES refuses a second one); sign for a domain that is marked
// sign = false, where the upstream signs itself.
//
// The order of events: the copy is rendered, then [Keys.Sign] prepends
// DKIM-Signature, then the copy is sent. Every attempt signs anew, so the t=
// tag is the time of the attempt.
package sign
