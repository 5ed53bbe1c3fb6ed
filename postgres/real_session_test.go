//go:build integration

package postgres

import "testing"

// An application may have had its isolation level made everybody's.
func TestAStandbyIsLookedAtWhereTransactionsAreSerializable(t *testing.T) {
	a := newNode(t, "a")
	a.initDB()
	a.settings.PostgreSQL.Parameters = map[string]string{"default_transaction_isolation": "serializable"}
	a.config(nil)
	a.start(true)
	b := standby(t, "b", a)
	b.look()
	if _, err := b.LookFast(b.ctx()); err != nil {
		t.Error(err)
	}
	if _, err := b.LookProgress(b.ctx()); err != nil {
		t.Error(err)
	}
	b.promoteTo(2)
}

func TestTheSuperuserIsItselfWhateverRoleItBeginsWith(t *testing.T) {
	a := primary(t, "a")
	a.sql("create role app; alter role postgres set role = app")
	a.watch.close() // a session that was there before is not concerned
	a.look()
	if got := a.sql("select current_user"); got != "postgres" {
		t.Errorf("it acts as %s", got)
	}
}
