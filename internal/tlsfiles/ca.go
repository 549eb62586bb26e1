package tlsfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// A CA lasts as long as a cluster is likely to; what it signs is renewed more often, and without a restart.
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 398 * 24 * time.Hour
	// backdate allows for clocks that are behind.
	backdate = 5 * time.Minute
)

// Usage is what a certificate is for.
type Usage int

const (
	ForDaemon Usage = iota + 1 // a server or a worker: it serves, and asks others
	ForClient                  // a person: it asks
)

// Authority is a CA that can sign.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// NewAuthority makes a CA.
func NewAuthority(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "labd CA"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLifetime), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cert: cert, key: key, pem: pemOf("CERTIFICATE", der)}, err
}

// newSerial makes a serial number of 127 random bits (RFC 5280 4.1.2.2: unique, positive, at most 20 octets).
func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// OpenAuthority reads a CA, or makes one where there is none yet.
func OpenAuthority(certFile, keyFile string, now time.Time) (a *Authority, made bool, err error) {
	certPEM, err := os.ReadFile(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		if a, err = NewAuthority(now); err != nil {
			return nil, false, err
		}
		return a, true, a.write(certFile, keyFile)
	}
	if err != nil {
		return nil, false, err
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, false, fmt.Errorf("%s is there, but its key cannot be read: %w", certFile, err)
	}
	a, err = parseAuthority(certPEM, keyPEM)
	if err != nil {
		return nil, false, fmt.Errorf("%s and %s are no CA of labctl's: %w", certFile, keyFile, err)
	}
	if now.After(a.cert.NotAfter) {
		return nil, false, &ExpiredError{File: certFile, Until: a.cert.NotAfter}
	}
	return a, false, nil
}

func parseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, errors.New("no PEM")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || !cert.IsCA || !ec.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the two do not belong together")
	}
	return &Authority{cert: cert, key: ec, pem: pemOf("CERTIFICATE", certBlock.Bytes)}, nil
}

func (a *Authority) write(certFile, keyFile string) error {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return err
	}
	return errors.Join(writeFile(keyFile, pemOf("PRIVATE KEY", der)), writeFile(certFile, a.pem))
}

// PEM is the CA's certificate.
func (a *Authority) PEM() []byte { return a.pem }

// Issue makes a key and a certificate for a name and the hosts that it serves as, IP addresses or DNS names.
func (a *Authority) Issue(name string, hosts []string, usage Usage, now time.Time) (certPEM, keyPEM []byte, err error) {
	return a.issue(name, hosts, usage, now.Add(-backdate), earlier(now.Add(leafLifetime), a.cert.NotAfter))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (a *Authority) issue(name string, hosts []string, usage Usage, from, until time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if usage == ForDaemon {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pemOf("CERTIFICATE", der), pemOf("PRIVATE KEY", keyDER), nil
}

// IssueTo makes a key and a certificate, and writes them into files: the key first, so that whoever sees the new
// certificate finds its key.
func (a *Authority) IssueTo(certFile, keyFile, name string, hosts []string, usage Usage, now time.Time) error {
	cert, key, err := a.Issue(name, hosts, usage, now)
	if err != nil {
		return err
	}
	return errors.Join(writeFile(keyFile, key), writeFile(certFile, cert))
}

// writeFile replaces a file as a whole; only its owner may read it.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
