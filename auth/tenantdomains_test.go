package auth

import (
	"fmt"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestDomainsWithActiveUsersStay(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		ctx, ts := t.Context(), f.Tenants()
		add := func(by Principal, ref, domain string, want error) EmailDomain {
			t.Helper()
			d, err := ts.AddDomain(ctx, by, ref, domain)
			wantErr(t, fmt.Sprintf("AddDomain(%s, %q)", ref, domain), err, want)
			return d
		}
		if d := add(f.ann, "child", "Example.COM", nil); d.Domain != "example.com" || d.ActiveUsers != 2 {
			t.Errorf("added %+v", d)
		}
		add(f.ann, "child", "example.com", nil) // again
		add(f.ann, "child", "xn--mnchen-3ya.example", nil)
		for _, domain := range []string{"", "example", "exаmple.com", "münchen.example", "a b.com", "-a.com", "127.0.0.1", "a..com", "a.com.", "@a.com", "%.com", strings.Repeat("a", 64) + ".com"} {
			add(f.ann, "child", domain, ErrInvalid)
		}
		add(f.vic, "child", "a.com", ErrForbidden)
		for _, other := range []string{"root", "grandchild", "sibling", "foreign", "nobody"} {
			add(f.ann, other, "a.com", ErrNotFound)
			_, err := ts.Domains(ctx, f.ann, other)
			wantErr(t, "Domains of "+other, err, ErrNotFound)
			wantErr(t, "RemoveDomain of "+other, ts.RemoveDomain(ctx, f.ann, other, "a.com"), ErrNotFound)
		}
		err := ts.RemoveDomain(ctx, f.ann, "child", "EXAMPLE.com")
		wantErr(t, "RemoveDomain", err, ErrState)
		if !strings.Contains(fmt.Sprint(err), "2 active users") {
			t.Errorf("%v does not say how many", err)
		}
		wantErr(t, "RemoveDomain of one that is not listed", ts.RemoveDomain(ctx, f.ann, "child", "b.com"), ErrNotFound)
		f.sql(`UPDATE users SET status = 'inactive', rev = %d WHERE id = 'U-vic'`)
		wantErr(t, "RemoveDomain with one left", ts.RemoveDomain(ctx, f.op, "child", "example.com"), ErrState)
		f.sql(`UPDATE users SET status = 'inactive', rev = %d WHERE id = 'U-ann'`)
		wantErr(t, "RemoveDomain with none left", ts.RemoveDomain(ctx, f.op, "child", "example.com"), nil)
		list, err := ts.Domains(ctx, f.rita, "child")
		if err != nil || len(list) != 1 || list[0].Domain != "xn--mnchen-3ya.example" {
			t.Errorf("Domains = %+v, %v", list, err)
		}
		for i := range maxDomains - 1 {
			add(f.op, "child", fmt.Sprintf("d%d.example", i), nil)
		}
		add(f.op, "child", "toomany.example", ErrState)
		add(f.op, "child", "d0.example", nil) // is listed, and stays as it is
	})
}

func TestSecondFactorIsSetByWhoManagesSecurity(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		set := func(by Principal, ref, policy string, want error) {
			t.Helper()
			got, err := f.Tenants().SetSecondFactor(t.Context(), by, ref, policy)
			wantErr(t, fmt.Sprintf("SetSecondFactor(%s, %q)", ref, policy), err, want)
			if err == nil && got.SecondFactor != policy {
				t.Errorf("set to %q", got.SecondFactor)
			}
		}
		for _, policy := range []string{FactorDisabled, FactorAdmins, FactorRequired, FactorOptional} {
			set(f.ann, "child", policy, nil)
		}
		for _, policy := range []string{"", "Required", "always", "required "} {
			set(f.ann, "child", policy, ErrInvalid)
		}
		set(f.vic, "child", FactorDisabled, ErrForbidden)
		set(f.ann, "sibling", FactorDisabled, ErrNotFound)
		set(f.rita, "sibling", FactorRequired, nil)
		wantErr(t, "who may", f.ann.Can(permission.SecurityManage, f.child.ID), nil)
	})
}
