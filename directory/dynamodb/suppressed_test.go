package dynamodb_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/directory/dynamodb"
)

// Other programs read in the table that a user gets no mail, and no longer when
// that is lifted; nobody is made by it.
func TestTheTableSaysThatAUserIsSuppressed(t *testing.T) {
	tab := newTable(t)
	store := open(t, dynamodb.Config{Endpoint: tab.endpoint})
	x, err := directory.OpenIndex(filepath.Join(t.TempDir(), "optout.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	replay := func() {
		t.Helper()
		if _, err := x.Replay(t.Context(), store); err != nil {
			t.Fatal(err)
		}
	}
	tab.put(t, map[string]types.AttributeValue{"Email": s("Kim@example.com"), "Name": s("김민"), "SubscriptionStatus": s("true")})
	at := time.Date(2026, 11, 26, 9, 30, 0, 0, time.UTC)
	if _, err := x.Complained(t.Context(), "kim@example.com", "Kim@example.com", directory.Suppression{Reason: "abuse", At: at}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Complained(t.Context(), "ghost@example.com", "", directory.Suppression{Reason: "abuse", At: at}); err != nil {
		t.Fatal(err)
	}
	replay()
	row := tab.get(t, "Kim@example.com")
	why, _ := row["Suppressed"].(*types.AttributeValueMemberS)
	status, _ := row["SubscriptionStatus"].(*types.AttributeValueMemberBOOL)
	if why == nil || why.Value != "complained 2026-11-26: abuse" || status == nil || status.Value || tab.count(t) != 1 {
		t.Errorf("%+v, %d users", row, tab.count(t))
	}
	if _, err := x.Unsuppress(t.Context(), "kim@example.com", directory.Lift{By: "boss", At: at.Add(time.Hour), Complaint: true}); err != nil {
		t.Fatal(err)
	}
	replay()
	row = tab.get(t, "Kim@example.com")
	if _, there := row["Suppressed"]; there || len(row) != 4 {
		t.Errorf("after the lifting: %+v", row)
	}
}
