package client

import "strings"

// reasonTLS is the reason of an Error that is about certificates. No labd gives it: the two have not come to speak.
const reasonTLS = "TLS"

// tlsTroubles are what crypto/tls and gRPC say when a connection fails by its certificates, at this end or, as an alert, at
// the other, and what that means.
var tlsTroubles = []struct{ said, means string }{
	{"remote error: tls: unknown certificate authority", "refuses this client's certificate: it is not of labd's CA"},
	{"remote error: tls: expired certificate", "refuses this client's certificate: it has expired"},
	{"remote error: tls: certificate required", "wants a certificate: give --tls-cert and --tls-key besides --tls-ca"},
	{"remote error: tls: bad certificate", "refuses this client's certificate"},
	{"certificate signed by unknown authority", "shows a certificate that is not of the CA given: the wrong CA, or not the labd that is meant"},
	{"certificate has expired or is not yet valid", "shows a certificate that has expired, or is not valid yet"},
	{"x509: certificate is valid for", "shows a certificate for other hosts"},
	{"x509: cannot validate certificate for", "shows a certificate for other hosts"},
	{"first record does not look like a TLS handshake", "has no TLS; leave the certificates away"},
}

// tlsHint says what may be wrong when labd closed the connection at once: that one end has TLS and the other has not cannot
// be told from a labd that dies just then. Empty: nothing is known.
func tlsHint(message string) string {
	if !strings.Contains(message, "EOF") && !strings.Contains(message, "connection reset") {
		return ""
	}
	switch {
	case strings.Contains(message, "error reading server preface: "):
		return "; if it has TLS, give --tls-ca, and --tls-cert and --tls-key where it asks for no token"
	case strings.Contains(message, "authentication handshake failed: "):
		return "; if it has no TLS, leave the certificates away"
	}
	return ""
}

// tlsTrouble says what is wrong with the certificates when a connection has failed for that; empty: nothing is.
func tlsTrouble(message string) string {
	for _, t := range tlsTroubles {
		if strings.Contains(message, t.said) {
			return t.means + " (" + message + ")"
		}
	}
	return ""
}
