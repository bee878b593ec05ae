// Package feedback lets what comes back about sent copies have its effect: the events
// of Amazon SES, and the reports that mail servers send by mail.
//
// An event finds its copy by the tag, which is the same in every attempt and known
// even when no answer came; else by the id that upstream gave the mail. Then:
//
//  1. what it proves about the address is written down: a permanent bounce suppresses
//     the address, a soft one counts its day, a complaint takes the person off all
//     lists; mail refused for what is in it proves nothing;
//  2. the copy's outcome is raised, and a copy whose attempt had no answer is sent;
//  3. the breakers of the message and its lane count it.
//
// Each step is durable before the next and does nothing when it is repeated, so that an
// event may come twice, late, out of order, or half-done before a crash. The copy's
// outcome is the mark that an event has had its effect: one that does not raise it
// proves nothing anew, even when somebody has lifted the suppression since. When the copy
// has left the spool, whoever keeps the suppressions compares times.
//
// What it never does: believe a stranger. Who calls [Applier.Apply] has made sure that
// the events come from upstream.
package feedback
