// Package letters writes to recipients about their choices: what came of leaving a
// list or of agreeing to get its mail, whether they want mail again, and that they
// agreed to advertising two years ago.
//
// # The texts
//
// A letter is a text file in the language of its list ([Names]). Those that come
// with the program stand in where a folder has none of its own ([Load]); each file
// is parsed and rendered when it is loaded, so that a mistake stops the start and
// not a letter. [Texts.Render] never fails: a file of the folder that cannot
// be rendered after all gives way to the built-in one.
//
// # The mail
//
// A letter is text/plain, in 7 bits, with one of each header field. What comes from
// outside, names of lists, of companies and addresses, is bounded and cleaned before it
// is put in. It is from the company by an address that we can sign for, and answers go to
// the company's own address.
//
// # Results
//
// Korean law (정보통신망법 §50 ⑦, its decree §62-2) wants whoever consents, refuses or
// withdraws to be told the result within 14 days. The [directory.Index] keeps each such
// act until it is answered. The order of events in [Writer.Run]:
//
//  1. What one person did is gathered for 10 minutes from their first act on.
//  2. How things are in the end is asked of the index, and becomes one letter for each
//     company and language.
//  3. The letter is accepted into the spool, with a fingerprint of the acts that it
//     tells of, durably.
//  4. The acts are marked as answered in the index. After a crash before that the same
//     letter is made anew, and the spool knows its fingerprint and takes no second one.
//
// Nobody is written to who gets no mail at all: an address that bounces cannot be
// told, and whoever has called our mail spam does not want another one from us, not even
// this; the page has told them the result when they pressed the button. The
// ledger says so in the place of the letter.
//
// # Reminders
//
// Every two years those who get advertising are reminded of what they agreed to
// (§50 ⑧, decree §62-3). [Writer.Due] finds them a month before, and [Writer.Remind]
// writes to one of them: one letter for all lists of a company. Nothing changes for
// whoever does not answer.
//
// The package never changes what a person has chosen, and never writes to anybody on
// its own but in Run.
package letters
