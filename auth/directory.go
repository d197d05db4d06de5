package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// PollInterval is how often Run looks for changes by other processes: four chances within the promised second.
const PollInterval = 250 * time.Millisecond

// Options configures Open. Now and Dir are required.
type Options struct {
	Now      func() time.Time
	Dir      string       // of the pepper and the operator token, which are the same for all processes of a database
	Logger   *slog.Logger // nil discards
	Registry prometheus.Registerer
	// UserUse is told, in the transaction that adds a user, of each limit of users that then has one more; an error of it
	// undoes the change. nil is nobody.
	UserUse func(context.Context, *store.Tx, UserUse) error
}

// Directory holds all tenants and keys in memory and answers who is asking. Methods that change something write to the
// database and then to memory.
type Directory struct {
	db       *store.DB
	now      func() time.Time
	log      *slog.Logger
	poll     time.Duration // of Run
	m        *metrics
	macs     sync.Pool // of hash.Hash keyed with the pepper
	operator [sha256.Size]byte

	syncMu sync.Mutex // one catch-up at a time; guards seen
	seen   int64      // changes.n that memory is at

	fresh freshness // how old memory is
	door  *door     // for people

	userUse func(context.Context, *store.Tx, UserUse) error

	refusals refusals // of keys, for the audit
	reads    reads    // of many tenants at once, for the audit

	mu      sync.RWMutex // guards what follows
	version uint64       // counts changes of tenants and keys; a grant of another version is stale
	tenants map[tenant.ID]*Tenant
	keys    map[string]*keyEntry
	people  people
	origins map[string]int // how many of keys name each
}

// Open loads the directory, making the pepper and the operator token at the first start. It starts nothing; call Run.
func Open(ctx context.Context, db *store.DB, o Options) (*Directory, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	pepper, err := loadPepper(ctx, db, o.Dir)
	if err != nil {
		return nil, err
	}
	d := &Directory{db: db, now: o.Now, log: o.Logger, m: newMetrics(o.Registry), poll: PollInterval, door: newDoor(), userUse: o.UserUse}
	d.macs.New = func() any { return hmac.New(sha256.New, pepper) }
	if d.operator, err = loadOperator(o.Dir); err != nil {
		return nil, err
	}
	d.seen = -1
	if err := d.sync(ctx); err != nil {
		return nil, fmt.Errorf("load tenants and keys: %w", err)
	}
	return d, nil
}

// Tenants returns the control of tenants.
func (d *Directory) Tenants() *Tenants { return &Tenants{d} }

// Keys returns the control of API keys.
func (d *Directory) Keys() *Keys { return &Keys{d} }

// Run brings in the changes of other processes until ctx ends, and writes last-used times and the end of access about once a minute. It looks for
// changes at each PollInterval, and at once when the database tells of one. While the database cannot be read, the last known
// state stays in force: nobody is refused because of an outage, and nothing new is let in.
func (d *Directory) Run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	var watch sync.WaitGroup
	defer watch.Wait() // ctx has ended by then
	watch.Go(func() { d.db.Watch(ctx, wake) })
	watch.Go(func() { d.keepHouse(ctx) })
	watch.Go(func() { d.writeUses(ctx) })
	tick := time.NewTicker(d.poll)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-wake:
		}
		err := d.sync(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			d.log.Warn("tenants and keys cannot be refreshed, the last known state stays in force", "err", err)
		}
		if err == nil && failing {
			d.log.Info("tenants and keys are refreshed again")
		}
		failing = err != nil
	}
}

// writeUses writes what memory alone knows, about once a minute and when ctx ends. Writing waits for other processes' writes, which
// may take seconds; so it is done beside looking for changes, which revocation waits for.
func (d *Directory) writeUses(ctx context.Context) {
	tick := time.NewTicker(useInterval)
	defer tick.Stop()
	defer d.flushUses(context.WithoutCancel(ctx)) // the last minute's; a failure costs only that
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := d.flushUses(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("last-used times of keys are not written", "err", err)
		}
		if err := d.sweepAccess(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("the end of access is not written", "err", err)
		}
		if err := d.flushSeen(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("last uses of sessions are not written", "err", err)
		}
	}
}

// Authenticate returns the principal of an API key's text, or one of ErrNoCredential, ErrUnknownKey, ErrExpired,
// ErrTenantInactive, ErrCertificate and ErrKeysUnavailable. It reads memory only.
func (d *Directory) Authenticate(credential string) (Principal, error) {
	return d.AuthenticateWith(credential, nil)
}

// AuthenticateWith is Authenticate where the client has shown a certificate of these CertificateNames, which was verified.
func (d *Directory) AuthenticateWith(credential string, certificate []string) (Principal, error) {
	g, err := d.check(credential, certificate)
	result := "ok"
	if err != nil {
		result = err.Code
	}
	d.m.checks.WithLabelValues(result).Inc()
	if err != nil {
		if err != ErrNoCredential && err != ErrKeysUnavailable {
			id, _, _ := parseKeyText(credential)
			d.refusals.refused(id, err.Code, d.now())
		}
		return Principal{}, err
	}
	return Principal{g}, nil
}

func (d *Directory) check(credential string, certificate []string) (*grant, *Error) {
	if credential == "" {
		return nil, ErrNoCredential
	}
	id, secret, ok := parseKeyText(credential)
	if !ok {
		return nil, ErrUnknownKey
	}
	got := d.mac(id, secret)

	d.mu.RLock()
	defer d.mu.RUnlock()
	e := d.keys[id]
	same, old := e.holds(&got, d.now())
	// SECURITY: unknown ids go through the same comparisons, and the key's and its tenant's state are told only to who
	// holds a secret.
	if e == nil || !same {
		if e == nil && d.fresh.misses(id, d.now()) {
			return nil, ErrKeysUnavailable
		}
		return nil, ErrUnknownKey
	}
	if e.key.ExpiresAt != nil && !d.now().Before(*e.key.ExpiresAt) {
		return nil, ErrExpired
	}
	g := d.grantLocked(e)
	if g.err != nil {
		return nil, g.err
	}
	if err := showsOneOf(e.key.ClientCertificates, certificate); err != nil {
		return nil, err
	}
	e.use(d.now(), old)
	return g, nil
}

// Operator returns the principal of the operator token, or ErrNoCredential or ErrUnknownKey. Authenticate never accepts
// the token, so that it opens the control plane alone.
func (d *Directory) Operator(token string) (Principal, error) {
	if token == "" {
		return Principal{}, ErrNoCredential
	}
	got := sha256.Sum256([]byte(token))
	// SECURITY: both sides are hashes, so neither length nor content shows in the time taken.
	if subtle.ConstantTimeCompare(got[:], d.operator[:]) != 1 {
		return Principal{}, ErrUnknownKey
	}
	return Principal{operatorGrant}, nil
}

var operatorGrant = &grant{operator: true, scopes: []KeyScope{ScopeUsage, ScopeAdmin}}

// mac is what is stored of a secret. The id is part of it: a row's hash copied to another row opens nothing.
func (d *Directory) mac(id, secret string) (out [sha256.Size]byte) {
	h := d.macs.Get().(hash.Hash)
	defer d.macs.Put(h)
	h.Reset()
	h.Write([]byte(id + "_" + secret))
	h.Sum(out[:0])
	return out
}
