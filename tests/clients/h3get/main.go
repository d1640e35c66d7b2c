// SPDX-License-Identifier: Apache-2.0

// h3get is to HTTP/3 what curl is to HTTP/1.1: Debian's curl does not speak it.
//
//	h3get [-ca FILE] [-seconds N] [-fallback] URL
//
// Prints one line, "PROTOCOL STATUS BYTES SHA256". With -fallback it does as browsers do: when QUIC does not come about,
// it asks again over TCP.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/lucas-clemente/quic-go"
	"github.com/lucas-clemente/quic-go/http3"
)

func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// connected is a UDP socket with one peer, as browsers use them: only such a one is told by the kernel that an ICMP message
// has refused what it sent.
type connected struct{ *net.UDPConn }

func (c connected) WriteTo(p []byte, _ net.Addr) (int, error) { return c.Write(p) }

func dial(ctx context.Context, address string, t *tls.Config, q *quic.Config) (quic.EarlyConnection, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	c := connected{raw.(*net.UDPConn)}
	return quic.DialEarlyContext(ctx, c, c.RemoteAddr(), address, t, q)
}

func get(client *http.Client, url string) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, answer.Body)
	if err != nil {
		return err
	}
	fmt.Printf("%s %d %d %x\n", answer.Proto, answer.StatusCode, n, sum.Sum(nil))
	return nil
}

func run() error {
	ca := flag.String("ca", "", "PEM file of the authorities to trust instead of the system's")
	seconds := flag.Float64("seconds", 10, "how long each attempt may take")
	fallback := flag.Bool("fallback", false, "ask over TCP when QUIC fails")
	flag.Parse()
	if flag.NArg() != 1 {
		return fmt.Errorf("one URL is needed")
	}
	pool, err := roots(*ca)
	if err != nil {
		return err
	}
	config := &tls.Config{RootCAs: pool}
	limit := time.Duration(*seconds * float64(time.Second))
	h3 := &http3.RoundTripper{TLSClientConfig: config, QuicConfig: &quic.Config{HandshakeIdleTimeout: limit}, Dial: dial}
	defer h3.Close()
	start := time.Now()
	err = get(&http.Client{Transport: h3, Timeout: limit}, flag.Arg(0))
	if err == nil || !*fallback {
		return err
	}
	fmt.Fprintf(os.Stderr, "h3 failed after %.2f s: %v\n", time.Since(start).Seconds(), err)
	h2 := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
	return get(&http.Client{Transport: h2, Timeout: limit}, flag.Arg(0))
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "h3get:", err)
		os.Exit(1)
	}
}
