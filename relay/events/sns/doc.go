// Package sns takes the events of Amazon SES from a topic of Amazon SNS that calls an
// https address of the gateway, for those who have no queue of SQS.
//
// Anybody can call that address. So nothing is believed before all of this holds, in
// this order:
//
//   - the message names one of the topics that are configured, to the letter;
//   - its time is at most an hour ago, which is as long as SNS goes on trying, and not
//     in the future;
//   - its certificate is fetched by https from sns.REGION.amazonaws.com, with the
//     topic's own region, and from nowhere else: no port, no user, no redirect;
//   - the certificate is SNS's by its names, is valid now, and a root of this system
//     stands behind it;
//   - the signature over the fields that are used is right: version 1 (SHA-1) or 2
//     (SHA-256), as the topic says. See
//     https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html.
//
// The confirmation of a subscription is a message like the others; its address is
// visited after the same checks, once, and by nobody else.
//
// What a request gets: 200 when its events were applied, 403 when it is not from a
// topic of ours, 400 when it is nonsense, 405 for another method; of these SNS tries
// none again. 503, when the events cannot be applied now or the certificate cannot be
// fetched, it does try again.
//
// What it never does: hold more than a MiB of a request, or anything of one whose header
// names no topic of ours, or more than 64 at once; or fetch anything from a host
// that is not Amazon's. It keeps no list of messages seen: an event that comes twice
// changes nothing (see package relay/events/sqs), so that a message repeated within
// the hour does not either.
package sns
