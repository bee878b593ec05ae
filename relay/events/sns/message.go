package sns

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1" // version 1 of the signature is SNS's default
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The times within which a message counts. SNS stops trying after an hour; clocks
// differ a little.
const (
	maxAge  = time.Hour
	maxSkew = 5 * time.Minute
)

// The kinds of messages.
const (
	notification = "Notification"
	subscribe    = "SubscriptionConfirmation"
	unsubscribe  = "UnsubscribeConfirmation"
)

// message is what SNS posts:
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html.
type message struct {
	Type, MessageID, TopicArn, Message, Timestamp string
	Subject                                       *string
	Token, SubscribeURL                           string
	SignatureVersion, Signature, SigningCertURL   string
}

// errNonsense is a request that is no message of SNS at all; errForged is one that is
// not from a topic of ours.
var (
	errNonsense = errors.New("this is no message of Amazon SNS")
	errForged   = errors.New("this message is not believed")
)

func forged(format string, a ...any) error {
	return fmt.Errorf("%w: %s", errForged, fmt.Sprintf(format, a...))
}

func parse(body []byte) (*message, error) {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, fmt.Errorf("%w: it is not the JSON of one", errNonsense)
	}
	switch m.Type {
	case notification, subscribe, unsubscribe:
	case "":
		return nil, fmt.Errorf("%w: it has no Type; switch raw message delivery off for this subscription, because a raw message has no signature", errNonsense)
	default:
		return nil, fmt.Errorf("%w: its Type is none that is known", errNonsense)
	}
	return &m, nil
}

// precheck holds what a message must say before anything is fetched for it, and gives
// the host from which everything of its topic comes.
func (m *message) precheck(topics []string, now time.Time) (host string, err error) {
	if !slices.Contains(topics, m.TopicArn) {
		return "", forged("its topic is none of those that are configured")
	}
	if host, err = hostOf(m.TopicArn); err != nil {
		return "", err
	}
	at, err := time.Parse(time.RFC3339, m.Timestamp)
	switch {
	case err != nil:
		return "", forged("its Timestamp is none")
	case now.Sub(at) > maxAge:
		return "", forged("it is older than an hour; see that the clock of this machine is right")
	case at.Sub(now) > maxSkew:
		return "", forged("it is from the future; see that the clock of this machine is right")
	}
	if m.SignatureVersion != "1" && m.SignatureVersion != "2" {
		return "", forged("its SignatureVersion is neither 1 nor 2")
	}
	u, err := onHost(m.SigningCertURL, host)
	if err != nil || !strings.HasSuffix(u.Path, ".pem") || u.RawQuery != "" {
		return "", forged("its certificate is not at https://%s/….pem", host)
	}
	return host, nil
}

var topicForm = regexp.MustCompile(`^arn:aws[a-z-]*:sns:([a-z0-9-]{3,30}):[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$`)

// hostOf is where SNS of a topic's region is.
func hostOf(topic string) (string, error) {
	m := topicForm.FindStringSubmatch(topic)
	if m == nil {
		return "", fmt.Errorf("%q is not the ARN of a topic, such as arn:aws:sns:ap-northeast-2:123456789012:postern-events", topic)
	}
	if strings.HasPrefix(m[1], "cn-") {
		return "sns." + m[1] + ".amazonaws.com.cn", nil
	}
	return "sns." + m[1] + ".amazonaws.com", nil
}

// onHost reads an address that must be of this host by https and have nothing beside.
func onHost(address, host string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host != host || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, forged("an address in it is not of https://%s", host)
	}
	return u, nil
}

// names are those that SNS's certificates bear. Amazon does not write them down;
// these are what its own validator for Java (sns-message-manager) knows, and the
// host's.
func names(host string) []string {
	rest := strings.TrimPrefix(host, "sns.")
	all := []string{"sns.amazonaws.com", host, "sns-signing." + rest, "sns-" + rest}
	if strings.HasPrefix(rest, "us-gov-") {
		all = append(all, "sns-us-gov-west-1.amazonaws.com")
	}
	return all
}

// verify holds the signature over what will be used of the message.
func (m *message) verify(cert *x509.Certificate) error {
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil {
		return forged("its Signature is not base64")
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return forged("its certificate has no RSA key")
	}
	hash, sum := crypto.SHA256, sha256.Sum256(m.canonical())
	digest := sum[:]
	if m.SignatureVersion == "1" {
		sum := sha1.Sum(m.canonical())
		hash, digest = crypto.SHA1, sum[:]
	}
	if rsa.VerifyPKCS1v15(key, hash, digest, signature) != nil {
		return forged("its signature is not right")
	}
	return nil
}

// canonical is what SNS signs: names and values, each on a line of its own, in the
// order of the names.
func (m *message) canonical() []byte {
	var b strings.Builder
	add := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	add("Message", m.Message)
	add("MessageId", m.MessageID)
	if m.Type == notification {
		if m.Subject != nil {
			add("Subject", *m.Subject)
		}
	} else {
		add("SubscribeURL", m.SubscribeURL)
	}
	add("Timestamp", m.Timestamp)
	if m.Type != notification {
		add("Token", m.Token)
	}
	add("TopicArn", m.TopicArn)
	add("Type", m.Type)
	return []byte(b.String())
}
