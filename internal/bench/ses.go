package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"

	"postern/mail"
	"postern/relay/ses"
	"postern/relay/ses/sesfake"
	"postern/relay/sign"
)

// ses runs campaigns of 100 KB through the program and its SES sender against a null
// server, and then compares the relay with what cannot be avoided.
func (b *bench) ses() error {
	mail := campaign(100)
	for _, n := range []int{50, 200, 500} {
		var took []float64
		for range b.rounds {
			t, err := b.campaignSES(mail, n)
			if err != nil {
				return err
			}
			took = append(took, t.Seconds()*1000)
		}
		goal := "the old system: 50 in 21 s"
		if n == 50 {
			goal = "<= 500 ms"
		}
		row(fmt.Sprintf("%d copies of 100 KB through the SES sender, signed", n), fmt.Sprintf("%.0f ms", median(took)), "", "", goal)
	}
	return b.besideSDK()
}

// besideSDK compares a relay in this process, with its spool and the SES sender, with a
// loop that signs a mail and hands it to the SDK; both to a null server in this process.
func (b *bench) besideSDK() error {
	for _, c := range []struct{ kb, copies int }{{10, 2000}, {100, 1000}} {
		var ours, bares, shares []float64 // a share of each round: what disturbs it disturbs both sides
		for range b.rounds {
			bare, err := b.bareSES(c.kb, c.copies)
			if err != nil {
				return err
			}
			our, err := b.relaySES(c.kb, c.copies)
			if err != nil {
				return err
			}
			ours, bares, shares = append(ours, our), append(bares, bare), append(shares, our/bare)
		}
		row(fmt.Sprintf("%d copies of %d KB, signed, to a null SES by %d connections, beside signing and the SDK alone", c.copies, c.kb, connections),
			perSecond(median(ours)), perSecond(median(bares)), fmt.Sprintf("%.2f", median(shares)), ">= 0.85")
	}
	return nil
}

// serveHere serves in this process and gives the address.
func serveHere(h http.Handler) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	return "http://" + l.Addr().String(), func() { _ = s.Close() }, nil
}

func (b *bench) relaySES(kb, copies int) (float64, error) {
	url, stop, err := serveHere(&sesfake.Fake{Discard: true})
	if err != nil {
		return 0, err
	}
	defer stop()
	sender, err := ses.New(context.Background(), ses.Config{Region: "us-east-1", Endpoint: url, Concurrency: connections})
	if err != nil {
		return 0, err
	}
	took, err := b.throughRelay(sender, nil, copies, connections, kb)
	return float64(copies) / took.Seconds(), err
}

// bareSES signs and sends, and does nothing else. Mails a second.
func (b *bench) bareSES(kb, copies int) (float64, error) {
	url, stop, err := serveHere(&sesfake.Fake{Discard: true})
	if err != nil {
		return 0, err
	}
	defer stop()
	keys, err := b.keys()
	if err != nil {
		return 0, err
	}
	transport := awshttp.NewBuildableClient().GetTransport()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 2*connections, connections
	defer transport.CloseIdleConnections()
	api := sesv2.New(sesv2.Options{Region: "us-east-1", BaseEndpoint: &url, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", ""), Retryer: aws.NopRetryer{}})
	header, body := split(campaign(kb))
	content := mail.Content{Header: header, Body: [][]byte{body}}
	var left atomic.Int64
	left.Store(int64(copies))
	errs := make([]error, connections)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range errs {
		wg.Go(func() { errs[i] = bareMails(api, content, keys, &left) })
	}
	wg.Wait()
	return float64(copies) / time.Since(start).Seconds(), errors.Join(errs...)
}

func bareMails(api *sesv2.Client, content mail.Content, keys *sign.Keys, left *atomic.Int64) error {
	for left.Add(-1) >= 0 {
		signed, err := keys.Sign(content, "marketer@example.com")
		if err != nil {
			return err
		}
		_, err = api.SendEmail(context.Background(), &sesv2.SendEmailInput{
			Content:     &types.EmailContent{Raw: &types.RawMessage{Data: signed.Bytes()}},
			Destination: &types.Destination{ToAddresses: []string{"somebody@example.net"}},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) campaignSES(mail []byte, n int) (time.Duration, error) {
	s, err := startChild("null-ses", n)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	g, err := b.start(gatewayOptions{users: n, signed: true, lane: sesLane(s.addr)})
	if err != nil {
		return 0, err
	}
	defer g.stop()
	accepted, err := g.submit(mail, "all@lists.example.com")
	if err != nil {
		return 0, err
	}
	if err := s.wait(time.Minute); err != nil {
		return 0, err
	}
	return s.last.Sub(accepted), nil
}
