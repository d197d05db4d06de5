package prom

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// tenantLabel tells the tenants of a scope of several apart.
const tenantLabel = "tenant_id"

// Labels of a scope.
const (
	scopeName      = "otel_scope_name"
	scopeVersion   = "otel_scope_version"
	scopeSchemaURL = "otel_scope_schema_url"
	scopePrefix    = "otel_scope_"
)

// Attributes of a resource that become job and instance.
const (
	serviceNamespace = "service.namespace"
	serviceName      = "service.name"
	serviceInstance  = "service.instance.id"
	tenantAttribute  = "tenant.id" // headgate's own
)

// seriesRow is one row of the table of series.
type seriesRow struct {
	tenant string
	metric
	id                           uint64
	attributes                   []pair
	service, namespace, instance string
	scope, version, schemaURL    string
	scopeAttributes              []pair
	resource                     []pair // if asked for
}

func (r *seriesRow) read(b *binaryReader, resource bool) {
	r.tenant, r.name, r.id, r.kind, r.unit = b.text(), b.text(), b.uint64(), b.text(), b.text()
	r.temporality, r.monotonic, r.attributes = b.int32(), b.uint8() != 0, b.pairs()
	r.service, r.namespace, r.instance = b.text(), b.text(), b.text()
	r.scope, r.version, r.schemaURL, r.scopeAttributes = b.text(), b.text(), b.text(), b.pairs()
	if resource {
		r.resource = b.pairs()
	}
}

func (r *seriesRow) job() string {
	if r.service != "" && r.namespace != "" {
		return r.namespace + "/" + r.service
	}
	return r.service
}

// labeller makes the labels of series. It is not for concurrent use.
type labeller struct {
	*namer
	tenants bool // several are in scope
	builder *labels.Builder
}

func newLabeller(n *namer, tenants bool) *labeller {
	return &labeller{namer: n, tenants: tenants, builder: labels.NewBuilder(labels.EmptyLabels())}
}

// base returns the labels that all parts of a series have: those of its points' attributes, its resource and its scope,
// in rising precedence, as Prometheus' OTLP receiver makes them. The name is not among them.
func (l *labeller) base(r *seriesRow) labels.Labels {
	l.builder.Reset(labels.EmptyLabels())
	l.attributes(r.attributes)
	l.target(r)
	for _, p := range r.scopeAttributes {
		l.set(l.key(scopePrefix+p.key), p.value)
	}
	l.set(scopeName, r.scope)
	l.set(scopeVersion, r.version)
	l.set(scopeSchemaURL, r.schemaURL)
	return l.builder.Labels()
}

// info returns the labels of the target_info of the row's resource, empty if the resource says nothing more than job and
// instance, or not even that.
func (l *labeller) info(r *seriesRow) labels.Labels {
	l.builder.Reset(labels.EmptyLabels())
	rest := make([]pair, 0, len(r.resource))
	for _, p := range r.resource {
		switch p.key {
		case serviceNamespace, serviceName, serviceInstance, tenantAttribute:
		default:
			rest = append(rest, p)
		}
	}
	if len(rest) == 0 {
		return labels.EmptyLabels()
	}
	l.attributes(rest)
	l.target(r)
	if l.builder.Get(model.JobLabel) == "" && l.builder.Get(model.InstanceLabel) == "" {
		return labels.EmptyLabels()
	}
	l.builder.Set(model.MetricNameLabel, targetInfo)
	return l.builder.Labels()
}

// attributes sets a label per attribute. Of attributes whose names become one, the values are joined in the order of the
// attributes' own names.
func (l *labeller) attributes(list []pair) {
	byKey := func(a, b pair) int { return strings.Compare(a.key, b.key) }
	if !slices.IsSortedFunc(list, byKey) {
		list = slices.SortedStableFunc(slices.Values(list), byKey)
	}
	for _, p := range list {
		name := l.key(p.key)
		if name == "" {
			continue
		}
		if before := l.builder.Get(name); before != "" && !l.label.UTF8Allowed {
			p.value = before + joined + p.value
		}
		l.set(name, p.value)
	}
}

// joined stands between the values of attributes whose names become one.
const joined = ";"

// target sets what names the resource, and the tenant if there are several.
func (l *labeller) target(r *seriesRow) {
	if job := r.job(); job != "" {
		l.set(model.JobLabel, job)
	}
	if r.instance != "" {
		l.set(model.InstanceLabel, r.instance)
	}
	if l.tenants {
		l.set(tenantLabel, r.tenant)
	}
}

func (l *labeller) set(name, value string) {
	if name != "" {
		l.builder.Set(name, valid(value))
	}
}

// with returns base with a name and, unless its name is "", one more label.
func (l *labeller) with(base labels.Labels, name, extra, value string) labels.Labels {
	l.builder.Reset(base)
	if extra != "" {
		l.builder.Set(extra, value)
	}
	l.builder.Set(model.MetricNameLabel, name)
	return l.builder.Labels()
}
