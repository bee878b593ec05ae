// Package sqs reads the events of Amazon SES from a queue of Amazon SQS, into which
// an SNS topic puts what a configuration set publishes. That needs no public address
// and no signature: who may write is the queue's policy.
//
// What it promises:
//
//   - A message is deleted from the queue only after its events were applied. What is
//     in hand when the program ends, or when they could not be applied, comes again
//     when its visibility timeout is over. So an event comes at least once, and in any
//     order: to apply it twice must change nothing.
//   - Events are applied by one call at a time, those of up to a hundred messages in
//     each; the busier the queue, the more.
//   - A message that is no event is logged, never its text, and left to the queue's
//     redrive policy. Where there is none it is deleted after [maxReceives] receives,
//     with an error in the log, because it would come back for fourteen days.
//   - What is wrong with the queue or with the rights to it is said in the log when it
//     changes, and by [Reader.Status]; the reader goes on asking, once a minute at
//     last, for as long as it runs.
//
// The rights it needs are sqs:ReceiveMessage and sqs:DeleteMessage on the queue;
// sqs:GetQueueAttributes lets it see whether there is a redrive policy.
//
// The order of events in a round: one receive, which waits up to twenty seconds for
// something to come (long polling); when the last round was full, some more at once;
// apply; delete in batches of ten.
package sqs
