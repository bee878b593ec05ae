// Package relay takes copies out of the spool and hands them upstream.
//
// Every upstream account is a lane: a [Sender] with a bound on concurrent
// attempts, a rate, and a gate that pauses it. One goroutine a lane claims due
// copies for its free slots; its workers make the attempts. The life of one:
//
//  1. the claim is on disk (spool.Claim),
//  2. the local index is asked whether the address may still get mail,
//  3. the copy is rendered, ordinary mail encoded where upstream cannot carry it
//     unchanged, and signed,
//  4. the Sender hands it upstream,
//  5. decide turns the answer into a verdict,
//  6. the verdict is on disk (spool.Settle), and the slot is free again.
//
// The verdict follows from the error's class alone. What is wrong with the copy
// spends one of its attempts and is retried by its [Schedule], and then the copy
// has failed, in upstream's words. What is wrong with the lane (it cannot be
// reached, it is too fast, its quota or its account is gone) slows or pauses the
// lane, spends nothing, and a single copy probes until the lane works again. A copy
// to which alone upstream answers so, while others pass, is found out (blame.go), and
// then concerns nobody but itself.
// What would befall every copy of a message pauses the message. What nobody
// knows is uncertain and follows the [Unknowns] policy, within the bounds of the
// schedule; a lane that brings nothing but unknown results pauses.
//
// Transactional copies are claimed first, and bulk leaves a reserve of the places
// free for them, so that they never wait for more than one copy in flight.
//
// The relay never sends before the attempt is on disk, never has more attempts
// under way than the lane's concurrency, and never counts a failure as sent.
package relay
