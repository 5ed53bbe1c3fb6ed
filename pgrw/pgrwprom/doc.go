// Package pgrwprom counts the events of pgrw as Prometheus metrics.
//
//	metrics, err := pgrwprom.New(prometheus.DefaultRegisterer)
//	db, err := pgrw.Open(ctx, dsn, pgrw.WithObserver(metrics.Observe))
//	metrics.Watch(db)
//
// It promises that a label's values are few: addresses of servers, and words that pgrw
// documents. One set of metrics serves one Cluster; wrap the registerer with labels for
// more.
package pgrwprom
