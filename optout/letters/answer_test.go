package letters_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/directory"
	"postern/mail"
)

// TestRule61WhatOnePersonDoesIsOneLetter: acts within ten minutes are told together,
// as things are in the end.
func TestRule61WhatOnePersonDoesIsOneLetter(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		defer o.run()()
		o.leave(minji, "promo")
		pass(3 * time.Minute)
		o.leave("minji@example.net", "news")
		pass(3 * time.Minute)
		o.agree(minji, "promo") // changed their mind
		pass(3 * time.Minute)
		if n := len(o.all()); n != 0 {
			t.Fatalf("%d letters within ten minutes", n)
		}
		pass(2 * time.Minute)
		m := o.one()
		if m.Notice != mail.NoticeConsent || m.Priority != mail.Bulk || m.Submitter != "postern" || m.From != "bounces@shop.example" || m.Lane != "main" || m.to != minji {
			t.Errorf("%+v", m.Message)
		}
		m.says(t, "수신 설정 변경 결과", "메일: 신상품 안내\n수신거부 의사를 표시하신 날짜: 2000년 1월 1일 09:03", "메일: 특가 소식\n수신에 동의하신 날짜: 2000년 1월 1일 09:06", "전송자: 예시패션 주식회사", "https://mail.shop.example/p/promo")
		if strings.Count(m.text, "특가 소식") != 1 {
			t.Error("what was undone is told:", m.text)
		}
		answered := o.ledger("answered")
		if o.waiting() != 0 || len(answered) != 3 {
			t.Fatalf("%d wait, %d answered", o.waiting(), len(answered))
		}
		for _, e := range answered {
			if e.Message != m.ID || e.How != "letter" || e.Note != "" {
				t.Errorf("%+v", e)
			}
		}
		pass(time.Hour)
		o.one()
	})
}

func TestRule61EachActIsAnsweredWithinADay(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		defer o.run()()
		o.leave(minji, "promo")
		pass(11 * time.Minute)
		o.agree(minji, "promo")
		o.leave("jun@example.net", "other")
		pass(11 * time.Minute)
		all := o.all()
		if len(all) != 3 {
			t.Fatal(all)
		}
		all[0].says(t, "수신거부 처리 결과", "처리 결과: 수신거부 완료")
		all[2].says(t, "수신동의 처리 결과", "처리 결과: 수신동의 완료", "!수신거부 완료")
		all[1].says(t, "[Other Shop] You have unsubscribed", "Sender: Other Shop", "You withdrew your consent on: 1 January 2000 09:11")
		if all[1].to != "jun@example.net" || all[1].from.Name != "Other Shop" {
			t.Error(all[1].to, all[1].from)
		}
	})
}

// TestLeavingAllListsIsToldBySenderAndNamesNone: a list that somebody never heard of is
// not named to them.
func TestLeavingAllListsIsToldBySenderAndNamesNone(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		defer o.run()()
		o.leave(minji, directory.AllLists)
		pass(11 * time.Minute)
		all := o.all()
		if len(all) != 2 {
			t.Fatal(all)
		}
		all[1].says(t, "메일: 모든 광고 메일\n", "!특가 소식", "!직원 공지")
		all[0].says(t, "Mail: all advertising mail\n", "Sender: Other Shop", "!예시패션")
		if answered := o.ledger("answered"); len(answered) != 1 || answered[0].Message != all[1].ID {
			t.Error(answered)
		}
		o.leave("jun@example.net", directory.AllLists)
		pass(time.Minute)
		o.agree("jun@example.net", "news")
		pass(11 * time.Minute)
		all = o.all()[2:]
		if len(all) != 2 {
			t.Fatal(all)
		}
		all[1].says(t, "메일: 그 밖의 모든 광고 메일\n수신거부", "메일: 신상품 안내\n수신에 동의")
		all[0].says(t, "Mail: all advertising mail\n")
	})
}

// TestWhatNeedsNoLetterIsAnsweredWithItsReason in the ledger.
func TestWhatNeedsNoLetterIsAnsweredWithItsReason(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		suppress := func(user mail.Address, kind directory.Kind) {
			t.Helper()
			if _, err := o.index.Suppress(t.Context(), directory.Suppression{Address: user, Kind: kind, Reason: "x", At: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		reasons := map[mail.Address]string{}
		o.leave("staff@example.net", "staff")
		reasons["staff@example.net"] = "no letter: the list is none with advertising"
		o.leave("gone@example.net", "removed-list")
		reasons["gone@example.net"] = "no letter: the list is none with advertising"
		o.leave("bounced@example.net", "promo")
		suppress("bounced@example.net", directory.KindBounce)
		reasons["bounced@example.net"] = "no letter: no mail reaches this address, or an operator has stopped it (bounce 2000-01-01)"
		o.leave("angry@example.net", "promo")
		suppress("Angry@example.net", directory.KindComplaint)
		reasons["angry@example.net"] = "no letter: its owner has called our mail spam, and wants no other one"
		o.leave("민지@example.net", "promo")
		reasons["민지@example.net"] = "no letter: 553 5.6.7 "
		o.leave("scanned@example.net", "promo")
		if _, err := o.index.Restore(t.Context(), "scanned@example.net", "promo", directory.Evidence{At: time.Now(), How: "command", Note: "a scanner did it"}); err != nil {
			t.Fatal(err)
		}
		reasons["scanned@example.net"] = "no letter: it has been undone since"
		defer o.run()()
		pass(11 * time.Minute)
		if all := o.all(); len(all) != 0 {
			t.Errorf("%+v", all)
		}
		answered := o.ledger("answered")
		if len(answered) != len(reasons) || o.waiting() != 0 {
			t.Fatalf("%d answered, %d wait\n%s", len(answered), o.waiting(), o.log.String())
		}
		for _, e := range answered {
			if want := reasons[e.Address]; !strings.HasPrefix(e.Note, want) || e.Message != "" {
				t.Errorf("%s: %q, want %q", e.Address, e.Note, want)
			}
		}
	})
}

// TestACrashBetweenLetterAndMarkMakesNoSecondLetter: the spool has the letter, and the
// index does not know it yet.
func TestACrashBetweenLetterAndMarkMakesNoSecondLetter(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		o.leave(minji, "promo")
		o.leave(minji, "other")
		pass(10 * time.Minute)
		ctx, crash := context.WithCancel(t.Context())
		seen := 0
		o.cfg.Route = routeThen(o, func() {
			if seen++; seen == 2 {
				crash() // the second letter is being written: the first is in the spool
			}
		})
		o.rebuild()
		o.w.Run(ctx)
		before := o.all() // the second may be there too, or not
		if len(before) == 0 || o.waiting() != 2 {
			t.Fatalf("%d letters, %d wait", len(before), o.waiting())
		}
		stop := o.run()
		pass(time.Minute)
		stop()
		all := o.all()
		if len(all) != 2 || o.waiting() != 0 {
			t.Fatalf("%d letters, %d wait\n%s", len(all), o.waiting(), o.log.String())
		}
		for _, e := range o.ledger("answered") {
			if e.Message != before[len(before)-1].ID {
				t.Errorf("%+v is not answered by the letter from before the crash", e)
			}
		}
	})
}

// TestNothingIsAnsweredWithoutALetter: while the spool takes none, the acts wait.
func TestNothingIsAnsweredWithoutALetter(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		o.leave(minji, "promo")
		var broken atomic.Bool
		broken.Store(true)
		o.cfg.Route = routeThen(o, func() {
			if broken.Load() {
				panic("broken")
			}
		})
		o.rebuild()
		defer o.run()()
		pass(11 * 24 * time.Hour)
		if len(o.all()) != 0 || o.waiting() != 1 {
			t.Fatalf("%d letters, %d wait", len(o.all()), o.waiting())
		}
		if log := o.log.String(); !strings.Contains(log, "panic: broken") || !strings.Contains(log, "has not been told for ten days") {
			t.Error("nobody is told")
		}
		broken.Store(false)
		pass(time.Minute)
		o.one()
		if o.waiting() != 0 {
			t.Error("it still waits")
		}
	})
}
