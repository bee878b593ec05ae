package events

import (
	"regexp"
	"strings"
)

// This file is what receiving servers say, in the words of the big providers and of those of
// Korea. The lists err on the side of "nothing is proved": an address that should
// have been suppressed bounces once more, one that was suppressed wrongly loses a
// reader. Everything is matched in lower case, by [plain] words.

// Statuses of RFC 3463 and RFC 5248 that are not about the recipient's mailbox.
var (
	// policyStatus: the sender's address (x.1.7, x.1.8), the size of the mail
	// (x.2.3, x.3.4), the receiving system itself (x.3.1 to x.3.5), a loop (x.4.6),
	// content (x.6), policy (x.7).
	policyStatus = regexp.MustCompile(`^[45]\.(1\.[78]|2\.3|3\.[1-5]|4\.6|6\.\d+|7\.\d+)$`)
	// softStatus: a full mailbox, and a mail that got too old on the way.
	softStatus = regexp.MustCompile(`^[45]\.(2\.2|4\.7)$`)
)

var codeForm = regexp.MustCompile(`\b[245]\.[0-9]{1,3}\.[0-9]{1,3}\b`)

// codesIn finds the status codes within words, and is not taken in by a part of an
// IP address.
func codesIn(words string) (codes []string) {
	for _, at := range codeForm.FindAllStringIndex(words, -1) {
		before, after := words[:at[0]], words[at[1]:]
		if !strings.HasSuffix(before, ".") && !(len(after) > 1 && after[0] == '.' && '0' <= after[1] && after[1] <= '9') {
			codes = append(codes, words[at[0]:at[1]])
		}
	}
	return codes
}

// policyWords say that the sender, its address or the mail's content was not
// wanted.
var policyWords = either(
	// junk and reputation
	`\bspam`, `\bjunk\b`, `unsolicited`, `\bbulk\b`, `\bblock(ed|ing|s)?\b`, `black ?-?list`, `block ?-?list`, `deny ?-?list`, `\b(dns|r)bl\b`,
	`\breputation\b`, `\blisted (at|in|on|by)\b`, `\bbann?ed\b`, `suspicious`, `\babus(e|ive)\b`, `complain`, `gr[ae]y ?-?list`,
	// policy and authentication
	`\bpolic(y|ies)\b`, `\bdmarc\b`, `\bspf\b`, `\bdkim\b`, `authenticat`, `unauthenticated`, `not (authori[sz]ed|permitted)`, `not allowed to`, `prohibit`, `restricted`,
	`relay(ing)? (access )?(denied|prohibited)`, `unable to relay`, `\bsenders?('s)?\b`, `\breverse dns\b`, `\bptr\b`, `\brdns\b`, `\b(helo|ehlo)\b`, `\bstarttls\b|\btls\b`,
	// too much, too fast
	`too many`, `rate ?-?limit`, `throttl`, `high volume`, `(daily|hourly|sending).{0,20}(quota|limit)`, `receiving mail (too quickly|at a rate)`,
	// content and size
	`\bcontents?\b`, `\bvirus`, `\bmalware`, `phish`, `attachment`, `too (large|big|long)`, `larger than`, `\b(message|mail|maximum|max) size\b`, `\bsize\b.{0,20}(limit|exceed)`, `exceed.{0,30}\bsize\b`,
	// Korean: spam, blocked, refused, black list, policy, reputation, sender,
	// attachment, virus, advertisement, size of the mail
	`스팸`, `차단`, `수신 ?거부`, `블랙 ?리스트`, `정책`, `평판`, `발신자|발송자|보낸 ?(사람|이)`, `첨부`, `바이러스`, `광고`, `(메일|메시지|파일)(의)? ?(크기|용량)`,
)

// blockLists are names of lists and filters, which stand in addresses and links
// that [plain] drops.
var blockLists = regexp.MustCompile(`spamhaus|spamcop|barracudacentral|sorbs\.net|surbl|uribl|abuseat|psbl|abusix|mailspike|senderscore|cloudmark|proofpoint\.com|kisarbl|spamlist\.or\.kr|rblcloud`)

// softWords say that the mailbox is full, or that a server was not reached in time.
var softWords = either(
	`\b(mailbox|mail box|inbox|mail ?folder|account|user|recipient|storage|quota|disk)\b.{0,60}\bfull\b`, `\bfull (mailbox|inbox)\b`,
	`over ?-?quota`, `\bquota\b.{0,40}exceed`, `exceed.{0,40}\bquota\b`, `exceed.{0,40}\bstorage\b`, `out of storage`, `(insufficient|not enough|no).{0,20}\b(disk|storage|mailbox) space\b`, `insufficient (system )?storage`, `quota violation`,
	`(메일함|사서함|편지함|메일 ?박스|저장 ?공간|저장 ?용량|용량).{0,30}(초과|가득|부족|없)`,
	`\b(delivery|message|retry|retries)\b.{0,20}(expired|timeout exceeded)`, `timed out`, `\btimeout\b`, `no answer from`, `connection (refused|reset)`, `could not be delivered (for|within)`,
)

// autoReplyWords say that a person is away, or that a machine thanks for the mail.
var autoReplyWords = either(
	`out of (the )?office`, `\bauto(matic|mated)?[ -]?(reply|response|responder|replied)\b`, `\bvacation\b`, `on (annual )?leave`, `부재 ?중`, `자동 ?(응답|회신|답장)`, `휴가`,
)

func either(patterns ...string) *regexp.Regexp {
	return regexp.MustCompile(strings.Join(patterns, "|"))
}

// unsaid is what stands in words without being said by anyone: addresses (of a
// person called spam@), links and names of hosts.
var unsaid = regexp.MustCompile(`<?[^\s<>]+@[^\s<>]+>?|https?://\S+|\b[a-z0-9-]+(\.[a-z0-9-]+)+\.[a-z]{2,}\b`)

// plain is a server's text in lower case with nothing but what it says.
func plain(words string) string {
	words = unsaid.ReplaceAllString(strings.ToLower(words), " ")
	return strings.Join(strings.Fields(words), " ")
}
