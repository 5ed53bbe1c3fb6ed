package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/routing/podlabel"
)

// serviceAccount is where Kubernetes puts what a pod needs to talk to its API.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

func (a *app) label() *cobra.Command {
	return a.command(verb{
		use: "label", group: groupNode,
		short: "in a Kubernetes pod: keep its label `role` at what the agent beside it says",
		long: `Keep the label "role" of the pod at primary or replica, as the agent in the same pod says, and without a value while it
says neither, for services that select by it. Needs POD_NAME, POD_NAMESPACE, and an account that may patch pods.`,
		run: func(cmd *cobra.Command, _ []string) error {
			k, err := a.labelKeeper()
			if err != nil {
				return err
			}
			return k.Run(cmd.Context())
		},
	})
}

func (a *app) labelKeeper() (*podlabel.Keeper, error) {
	s, _, here, err := a.fromSelf()
	if err != nil {
		return nil, err
	}
	host, port := a.getenv("KUBERNETES_SERVICE_HOST"), a.getenv("KUBERNETES_SERVICE_PORT")
	pod, namespace := a.getenv("POD_NAME"), a.getenv("POD_NAMESPACE")
	if host == "" || port == "" || pod == "" || namespace == "" {
		return nil, errors.New("this is no pod of Kubernetes: $KUBERNETES_SERVICE_HOST, $KUBERNETES_SERVICE_PORT, $POD_NAME and $POD_NAMESPACE must be set (deploy/k8s sets the last two)")
	}
	pem, err := os.ReadFile(serviceAccount + "/ca.crt")
	if err != nil {
		return nil, fmt.Errorf("read the authority of Kubernetes' API: %w: does the pod mount its account's token?", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s/ca.crt holds no certificate in PEM form", serviceAccount)
	}
	return &podlabel.Keeper{
		Check: here.Check,
		Pod:   fmt.Sprintf("https://%s/api/v1/namespaces/%s/pods/%s", net.JoinHostPort(host, port), namespace, pod),
		Token: func() (string, error) {
			token, err := os.ReadFile(serviceAccount + "/token")
			return strings.TrimSpace(string(token)), err
		},
		HTTP: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
		Log:  newLog(s.config.Log, a.err), Now: wallClock{}.Now, Wait: wallClock{}.Wait,
	}, nil
}
