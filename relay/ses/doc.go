// Package ses is the relay.Sender that hands copies to Amazon SES (API v2,
// SendEmail with raw content): the driver "ses" of a lane.
//
// What it promises:
//
//   - One Send is one request. SendEmail has no idempotency token and the SDK's
//     usual three tries would send one copy three times, so they are off.
//   - Every request names one recipient (Destination.ToAddresses), so that
//     nothing is read from the headers; the copy's tag as the EmailTag
//     "postern", by which an event finds the copy even when its answer was
//     lost; and tracking switched off, because it would rewrite the HTML after
//     it was signed.
//   - The copy's bytes are handed over as they are. EightBit is false, so that the
//     relay has encoded them for 7 bits before.
//   - An error says what is known: see [mail.Class] and the table in
//     classify.go. When the request may have reached SES wholly and no clear
//     answer came (5xx, reset, deadline), it is [mail.Uncertain]. When no
//     connection was made, nothing was sent and it is [mail.Unreachable].
//
// What it never does: use ListManagementOptions (they replace the unsubscribe
// headers that were signed), set a sender other than the mail's own From, or
// ask SES more than once.
//
// The order of events in Send: credentials (kept by the SDK), a connection from
// a pool as large as the lane's concurrency, the request, the answer; all of it
// under one deadline.
//
// What SES changes on the way is known beforehand and not signed: Date,
// Message-ID, Return-Path; it adds its own DKIM-Signature and Feedback-ID.
// See https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html.
//
// The package sesfake beside this one plays SES for tests and measurements.
package ses
