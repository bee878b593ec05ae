package main_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// syncOldTables is the old system: a table in DynamoDB that was filled by several programs,
// and the shop's own, both with odd rows. It is synced twice, with opt-outs between, and a
// campaign reaches exactly the right people.
func syncOldTables(t *testing.T, s *mysqlShop) {
	d := startDynamo(t)
	lists := func(ids ...string) types.AttributeValue {
		l := &types.AttributeValueMemberL{}
		for _, id := range ids {
			l.Value = append(l.Value, str(id))
		}
		return l
	}
	d.put(t,
		item{"Email": str("bool@example.net"), "Name": str("하나"), "SubscriptionStatus": yes(true), "CreateTime": num("1700000000"), "Shoe": str("245")},
		item{"Email": str("text@example.net"), "name": str("두리"), "SubscriptionStatus": str("TRUE"), "CreateTime": str("1700000000")},
		item{"Email": str("number@example.net"), "SubscriptionStatus": num("1"), "OptOut": lists("news")},
		item{"Email": str("missing@example.net"), "Name": str("셋")},
		item{"Email": str("maybe@example.net"), "SubscriptionStatus": str("maybe")},
		item{"Email": str("no@example.net"), "Name": str("넷"), "SubscriptionStatus": yes(false)},
		item{"Email": str("notext@example.net"), "SubscriptionStatus": str("false")},
		item{"Email": str("Spelt@Example.NET"), "SubscriptionStatus": yes(true), "OptOut": lists("promo")},
		item{"Email": str("deleted@example.net"), "SubscriptionStatus": yes(true)},
		item{"Email": str("stranger@example.net"), "SubscriptionStatus": yes(true)}, // in no row of MySQL
	)
	s.exec(`INSERT INTO users (id, email, name, subscribed, gone) VALUES (1, 'bool@example.net', '하나', 1, 0), (2, 'text@example.net', '두리', 1, 0),
		(3, 'number@example.net', NULL, 1, 0), (4, 'missing@example.net', '셋', 1, 0), (5, 'maybe@example.net', '다섯', 1, 0), (6, 'no@example.net', '넷', 1, 0),
		(7, 'notext@example.net', 'x', 1, 0), (8, 'spelt@example.net', 'x', 1, 0), (9, 'deleted@example.net', 'x', 1, 1), (10, NULL, '누구', 1, 0),
		(11, 'nonsense', 'x', 1, 0), (12, 'BOOL@example.net', 'second', 1, 0), (13, 'new@example.net', '새 😀', 1, 0), (14, 'off@example.net', 'x', 0, 0),
		(15, '  blank@example.net ', 'x', 1, 0), (16, 'two@example.net', 'x', 2, 0), (17, 'moves@example.net', '이사', 1, 0), (18, 'leaves@example.net', 'x', 1, 0),
		(19, 'undated@example.net', 'x', 1, 0)`)
	s.exec("ALTER TABLE users MODIFY update_at TIMESTAMP(6) NULL")
	s.exec("UPDATE users SET update_at = NULL WHERE id = 19")
	s.exec("ALTER TABLE users MODIFY update_at TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)")
	g := s.gateway(s.address, "interval = \"0s\"\nchunk = 4\n"+d.config(2))
	g.serve()
	dry := g.sync("--dry-run")
	done := g.sync()
	has(t, done, "kept: 6 no@example.net", "kept: 7 notext@example.net", "moved: 8 spelt@example.net  was Spelt@Example.NET", "gone: 9 deleted@example.net", "bad: 11 nonsense")
	for _, line := range strings.Split(done, "\n") { // the dry run said so before
		if strings.Contains(line, "kept: ") || strings.Contains(line, "gone: ") {
			has(t, dry, line)
		}
	}
	if it := d.get(t, "bool@example.net"); it["Shoe"].(*types.AttributeValueMemberS).Value != "245" {
		t.Errorf("what MySQL does not know is lost: %v", it)
	}
	everybody := []string{"bool@example.net", "text@example.net", "number@example.net", "missing@example.net", "maybe@example.net", "new@example.net",
		"blank@example.net", "moves@example.net", "leaves@example.net", "stranger@example.net", "undated@example.net"}
	copies := g.campaign("promo", "first", everybody...)

	post(t, copies["leaves@example.net"].link(t))
	post(t, copies["moves@example.net"].link(t))
	g.run("users", "leave", "text@example.net", "--list", "news", "--evidence", "by telephone")
	s.exec("UPDATE users SET email = 'moved@example.net' WHERE id = 17")
	s.exec("UPDATE users SET name = 'neu' WHERE id IN (6, 18)")
	s.exec("UPDATE users SET subscribed = 0 WHERE id = 18")
	s.exec("UPDATE users SET email = 'mended@example.net' WHERE id = 11")
	s.exec("UPDATE users SET gone = 1 WHERE id = 4")
	s.exec("UPDATE users SET email = 'exchange@example.net' WHERE id = 5")
	s.exec("UPDATE users SET email = 'maybe@example.net' WHERE id = 3")
	s.exec("UPDATE users SET email = 'number@example.net' WHERE id = 5")
	g.sync()
	s.exec("UPDATE users SET subscribed = 1 WHERE id = 18") // on again, without a word from the person
	g.sync("--reconcile")

	// number and maybe have exchanged their addresses, and what the one had left.
	now := []string{"bool@example.net", "text@example.net", "number@example.net", "maybe@example.net", "new@example.net", "blank@example.net",
		"stranger@example.net", "undated@example.net", "mended@example.net"}
	g.campaign("promo", "second", now...)
	g.campaign("news", "third", "bool@example.net", "new@example.net", "blank@example.net", "stranger@example.net", "undated@example.net", "mended@example.net",
		"moved@example.net", "leaves@example.net", "spelt@example.net")
	g.stop()
}
