package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// contained is an app whose environment describes a member without a name and addresses.
func contained(t *testing.T, more ...string) (*app, string) {
	t.Helper()
	for _, name := range []string{"PGKEEPER_NAME", "PGKEEPER_RESTAPI_CONNECT_ADDRESS", "PGKEEPER_POSTGRESQL_CONNECT_ADDRESS"} {
		t.Setenv(name, "") // put back at the test's end
	}
	dir := t.TempDir()
	env := append([]string{"PGKEEPER_SCOPE=demo", "PGKEEPER_RESTAPI_LISTEN=0.0.0.0:8008", "PGKEEPER_POSTGRESQL_LISTEN=0.0.0.0:5432",
		"PGKEEPER_ETCD3_HOSTS=192.0.2.1:2379", "PGKEEPER_POSTGRESQL_DATA_DIR=" + filepath.Join(dir, "data")}, more...)
	return &app{env: env}, filepath.Join(dir, "data.pgkeeper", nameFile)
}

func TestAContainerKeepsItsFirstNameBesideItsData(t *testing.T) {
	a, file := contained(t)
	if err := a.fillFromContainer(""); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != host+"\n" {
		t.Errorf("kept %q, %v; want the host's name %s", text, err, host)
	}
	if got := a.getenv("PGKEEPER_NAME"); got != host || os.Getenv("PGKEEPER_NAME") != host {
		t.Errorf("the name is %q, the worker's %q; want %s", got, os.Getenv("PGKEEPER_NAME"), host)
	}
	if got := a.getenv("PGKEEPER_RESTAPI_CONNECT_ADDRESS"); !strings.HasSuffix(got, ":8008") || strings.HasPrefix(got, "0.0.0.0") {
		t.Errorf("others reach the REST API at %q", got)
	}
	if got := a.getenv("PGKEEPER_POSTGRESQL_CONNECT_ADDRESS"); !strings.HasSuffix(got, ":5432") || strings.HasPrefix(got, "0.0.0.0") {
		t.Errorf("others reach the server at %q", got)
	}
}

func TestTheKeptNameWinsOverTheHostsAndAGivenOneOverBoth(t *testing.T) {
	a, file := contained(t)
	if err := keepName(filepath.Dir(file), file, "of-before"); err != nil {
		t.Fatal(err)
	}
	if err := a.fillFromContainer(""); err != nil || a.getenv("PGKEEPER_NAME") != "of-before" {
		t.Errorf("name %q, %v; want the one of before", a.getenv("PGKEEPER_NAME"), err)
	}
	given, file := contained(t, "PGKEEPER_NAME=given")
	if err := given.fillFromContainer(""); err != nil || given.getenv("PGKEEPER_NAME") != "given" {
		t.Errorf("name %q, %v; want the given one", given.getenv("PGKEEPER_NAME"), err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a given name was written down: it could outlive its giver")
	}
}

func TestAContainerLeavesGivenAddressesAlone(t *testing.T) {
	a, _ := contained(t, "PGKEEPER_NAME=x", "PGKEEPER_RESTAPI_CONNECT_ADDRESS=pod-0.nodes:8008", "PGKEEPER_POSTGRESQL_LISTEN=10.0.0.1:5432")
	if err := a.fillFromContainer(""); err != nil {
		t.Fatal(err)
	}
	if got := a.getenv("PGKEEPER_RESTAPI_CONNECT_ADDRESS"); got != "pod-0.nodes:8008" {
		t.Errorf("the given address became %s", got)
	}
	if got := a.getenv("PGKEEPER_POSTGRESQL_CONNECT_ADDRESS"); got != "" {
		t.Errorf("a server that listens at one address got another: %s", got)
	}
}
