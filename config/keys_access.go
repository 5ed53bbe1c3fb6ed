package config

// restKeys are restapi and ctl.
func restKeys() []Key {
	return []Key{
		{Path: "restapi.listen", Type: Address, Default: "127.0.0.1:8008", Meaning: "Address and port of the REST API. Patroni has no default.", into: func(d *draft) any { return &d.RESTAPI.Listen }},
		{Path: "restapi.connect_address", Type: Address, Meaning: "Address and port at which others reach it. Default: `restapi.listen`; required when that is a wildcard.", into: func(d *draft) any { return &d.RESTAPI.ConnectAddress }},
		{Path: "restapi.authentication.username", Type: Text, Meaning: "User for unsafe methods.", into: func(d *draft) any { return &d.RESTAPI.Authentication.Username }},
		{Path: "restapi.authentication.password", Type: Secret, Meaning: "Password for unsafe methods.", into: func(d *draft) any { return &d.RESTAPI.Authentication.Password }},
		{Path: "restapi.certfile", Type: Text, Meaning: "Certificate in PEM; switches to HTTPS.", into: func(d *draft) any { return &d.RESTAPI.CertFile }},
		{Path: "restapi.keyfile", Type: Text, Meaning: "Key in PEM. Default: in `certfile`.", into: func(d *draft) any { return &d.RESTAPI.KeyFile }},
		{Path: "restapi.keyfile_password", Type: Secret, Meaning: "Password of the key (PKCS #8 with PBES2, or OpenSSL's older form).", into: func(d *draft) any { return &d.RESTAPI.KeyFilePassword }},
		{Path: "restapi.cafile", Type: Text, Meaning: "Certificates that client certificates are checked against.", into: func(d *draft) any { return &d.RESTAPI.CAFile }},
		{Path: "restapi.ciphers", Type: Text, Meaning: "Suites of TLS 1.2 by OpenSSL's names, with colons between. Words for groups (`HIGH`) and suites that Go lacks or holds for unsafe are left out, with a warning; when none is left, Go chooses.", into: func(d *draft) any { return &d.RESTAPI.Ciphers }},
		{Path: "restapi.verify_client", Type: Text, Default: "none", Values: []string{"none", "optional", "required"}, Meaning: "Client certificates: `optional` asks for them on unsafe methods, `required` on all.", into: func(d *draft) any { return &d.RESTAPI.VerifyClient }},
		{Path: "restapi.allowlist", Type: Names, Meaning: "Addresses, networks and host names that may use unsafe methods.", into: func(d *draft) any { return &d.RESTAPI.Allowlist }},
		{Path: "restapi.allowlist_include_members", Type: Boolean, Default: "false", Meaning: "Whether the cluster's members may use unsafe methods.", into: func(d *draft) any { return &d.RESTAPI.AllowlistIncludeMembers }},
		{Path: "restapi.http_extra_headers", Type: Mapping, Meaning: "Headers added to every answer.", into: func(d *draft) any { return &d.RESTAPI.HTTPExtraHeaders }},
		{Path: "restapi.https_extra_headers", Type: Mapping, Meaning: "Headers added to answers over TLS.", into: func(d *draft) any { return &d.RESTAPI.HTTPSExtraHeaders }},
		{Path: "restapi.server_tokens", Type: Text, Default: "original", Values: []string{"original", "minimal", "productonly"}, Meaning: "How much the `Server` header says.", into: func(d *draft) any { return &d.RESTAPI.ServerTokens }},
		{Path: "restapi.request_queue_size", Type: Whole, Status: Idle, Note: "the kernel's own limit holds", Meaning: "Connections Patroni queues."},
		{Path: "restapi.thread_pool_size", Type: Whole, Status: Idle, Note: "pgkeeper has no pool of threads", Meaning: "Patroni's REST threads."},

		{Path: "ctl.authentication.username", Type: Text, Meaning: "User of the command line at members' REST API. Default: `restapi.authentication`.", into: func(d *draft) any { return &d.Ctl.Authentication.Username }},
		{Path: "ctl.authentication.password", Type: Secret, Meaning: "Its password.", into: func(d *draft) any { return &d.Ctl.Authentication.Password }},
		{Path: "ctl.insecure", Type: Boolean, Default: "false", Meaning: "Skip checking members' certificates.", into: func(d *draft) any { return &d.Ctl.Insecure }},
		{Path: "ctl.cacert", Type: Text, Meaning: "Certificates members are checked against. Default: `restapi.cafile`.", into: func(d *draft) any { return &d.Ctl.CACert }},
		{Path: "ctl.certfile", Type: Text, Meaning: "Client certificate. Default: `restapi.certfile`.", into: func(d *draft) any { return &d.Ctl.CertFile }},
		{Path: "ctl.keyfile", Type: Text, Meaning: "Its key. Default: `restapi.keyfile`.", into: func(d *draft) any { return &d.Ctl.KeyFile }},
		{Path: "ctl.keyfile_password", Type: Secret, Meaning: "Password of that key.", into: func(d *draft) any { return &d.Ctl.KeyFilePassword }},
	}
}

// etcdKeys are etcd3, and etcd as another name of it.
func etcdKeys() []Key {
	var out []Key
	for _, section := range []string{"etcd", "etcd3"} {
		// Later rows win: etcd3 over etcd, and only etcd3 has defaults.
		out = append(out, storeKeys(section)...)
	}
	return out
}

func storeKeys(section string) []Key {
	keys := []Key{
		{Path: "host", Type: Address, Meaning: "One member of etcd. Default, when none of `host`, `hosts`, `url` and `proxy` is set: 127.0.0.1:2379.", into: func(d *draft) any { return &d.store.host }},
		{Path: "hosts", Type: Names, Meaning: "Members of etcd, host:port.", into: func(d *draft) any { return &d.store.hosts }},
		{Path: "url", Type: Text, Meaning: "One member of etcd as a URL; https switches to TLS.", into: func(d *draft) any { return &d.store.url }},
		{Path: "proxy", Type: Text, Meaning: "An etcd proxy as a URL.", into: func(d *draft) any { return &d.store.proxy }},
		{Path: "srv", Type: Text, Status: Refused, Note: "name the members in hosts", Meaning: "Domain whose SRV records name the members.", into: func(d *draft) any { return &d.store.srv }},
		{Path: "srv_suffix", Type: Text, Status: Pending, Note: "name the members in hosts", Meaning: "Suffix of the SRV service.", into: func(d *draft) any { return &d.store.srvSuffix }},
		{Path: "use_proxies", Type: Boolean, Default: "false", Meaning: "The hosts are proxies: do not ask them for etcd's members.", into: func(d *draft) any { return &d.Etcd.UseProxies }},
		{Path: "protocol", Type: Text, Default: "http", Values: []string{"http", "https"}, Meaning: "`https` talks TLS.", into: func(d *draft) any { return &d.Etcd.Protocol }},
		{Path: "username", Type: Text, Meaning: "User of etcd.", into: func(d *draft) any { return &d.Etcd.Username }},
		{Path: "password", Type: Secret, Meaning: "Its password.", into: func(d *draft) any { return &d.Etcd.Password }},
		{Path: "cacert", Type: Text, Meaning: "Certificates etcd is checked against, with protocol https. Default: the system's.", into: func(d *draft) any { return &d.Etcd.CACert }},
		{Path: "cert", Type: Text, Meaning: "Client certificate.", into: func(d *draft) any { return &d.Etcd.Cert }},
		{Path: "key", Type: Text, Meaning: "Its key.", into: func(d *draft) any { return &d.Etcd.Key }},
	}
	for i := range keys {
		keys[i].Path = section + "." + keys[i].Path
		if section == "etcd" {
			keys[i].Default = ""
		}
	}
	return keys
}
