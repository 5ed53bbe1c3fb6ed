package pgrw_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/pgrw"
)

// clusterDSN is pgkeeper://10.0.0.1:8008,10.0.0.2:8008/app?user=app, say, or
// postgres://db1,db2,db3/app?user=app without agents. The examples write into
//
//	create table orders (id serial primary key, item text)
var clusterDSN = os.Getenv("CLUSTER_DSN")

// Plain pgx: a handle has the methods of a pool.
func Example() {
	ctx := context.Background()
	db, err := pgrw.Open(ctx, clusterDSN)
	if err != nil {
		log.Print(err)
		return
	}
	defer db.Close()

	token, err := db.InTx(ctx, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into orders (id, item) values ($1, $2)", 17, "lamp")
		return err
	})
	if errors.Is(err, pgrw.ErrCommitUnknown) {
		// Look for order 17 before anything is sent again.
		return
	}

	rows, err := db.Replica(pgrw.After(token), pgrw.MaxLag(16<<20)).Query(ctx, "select item from orders")
	if err != nil {
		log.Print(err)
		return
	}
	items, err := pgx.CollectRows(rows, pgx.RowTo[string])
	fmt.Println(items, err)
}

// DBTX and Queries are what sqlc generates for pgx/v5.
type DBTX interface {
	Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
	Query(context.Context, string, ...any) (pgx.Rows, error)
	QueryRow(context.Context, string, ...any) pgx.Row
}

type Queries struct{ db DBTX }

func New(db DBTX) *Queries { return &Queries{db} }

func (q *Queries) WithTx(tx pgx.Tx) *Queries { return New(tx) }

func (q *Queries) AddOrder(ctx context.Context, item string) error {
	_, err := q.db.Exec(ctx, "insert into orders (item) values ($1)", item)
	return err
}

func (q *Queries) CountOrders(ctx context.Context) (n int64, err error) {
	err = q.db.QueryRow(ctx, "select count(*) from orders").Scan(&n)
	return n, err
}

// sqlc: one set of queries for each handle, and InTx for transactions.
func Example_sqlc() {
	ctx := context.Background()
	db, err := pgrw.Open(ctx, clusterDSN)
	if err != nil {
		log.Print(err)
		return
	}
	defer db.Close()
	write, read := New(db.Primary()), New(db.Replica(pgrw.PreferZone("eu")))

	token, err := db.InTx(ctx, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		return write.WithTx(tx).AddOrder(ctx, "lamp")
	})
	if err != nil {
		log.Print(err)
		return
	}
	n, err := read.CountOrders(pgrw.WithToken(ctx, token))
	fmt.Println(n, err)
}

// net/http: who wrote reads what they wrote, through whatever process the next request goes.
func ExampleMiddleware() {
	db, err := pgrw.Open(context.Background(), clusterDSN)
	if err != nil {
		log.Print(err)
		return
	}
	defer db.Close()
	routes := http.NewServeMux()
	routes.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		if _, err := db.Primary().Exec(r.Context(), "insert into orders (item) values ($1)", r.FormValue("item")); err != nil {
			http.Error(w, "not stored", http.StatusInternalServerError)
		}
	})
	routes.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		var n int
		if err := db.Replica().QueryRow(r.Context(), "select count(*) from orders").Scan(&n); err != nil {
			http.Error(w, "not read", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, n, " ")
	})
	server := httptest.NewServer(pgrw.Middleware(routes)) // http.ListenAndServe, in a program
	defer server.Close()

	jar, _ := cookiejar.New(nil) // keeps what the middleware gives to a browser; never fails
	client := http.Client{Jar: jar}
	posted, err := client.PostForm(server.URL+"/orders", url.Values{"item": {"lamp"}})
	if err != nil {
		log.Print(err)
		return
	}
	posted.Body.Close()
	response, err := client.Get(server.URL + "/orders")
	if err != nil {
		log.Print(err)
		return
	}
	defer response.Body.Close()
	n, err := io.ReadAll(response.Body)
	fmt.Printf("%s%v\n", n, err)
}

// database/sql: a *sql.DB for writes and one for reads; a mark in place of a token.
func ExampleDB_SQL() {
	ctx := context.Background()
	db, err := pgrw.Open(ctx, clusterDSN)
	if err != nil {
		log.Print(err)
		return
	}
	defer db.Close()
	write, read := db.Primary().SQL(), db.Replica().SQL()
	defer write.Close()
	defer read.Close()

	if _, err := write.ExecContext(ctx, "insert into orders (item) values ($1)", "lamp"); err != nil {
		log.Print(err)
		return
	}
	mark, err := db.Mark(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	var n int
	err = read.QueryRowContext(pgrw.WithToken(ctx, mark), "select count(*) from orders").Scan(&n)
	fmt.Println(n, err)
}
