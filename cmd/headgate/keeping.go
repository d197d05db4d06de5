package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/control"
)

// keeping is what differs between the commands of saved queries and those of dashboards.
type keeping struct {
	use, noun, short string
	path, member     string // of the API
	file             string // in examples
	empty            string // the members that the API leaves out where there is nothing in them, in JSON
}

var (
	savedQueries = keeping{"saved", "saved query", "Save, list, show, run, share and delete queries", "/api/v1/saved-queries", "queries", "errors.json",
		`{"description":"","variables":[],"start":"","end":"","instant":false,"step":""}`}
	dashboards = keeping{"dashboard", "dashboard", "Make, list, show, run, share and delete dashboards", "/api/v1/dashboards", "dashboards", "checkout.json",
		`{"description":"","variables":[],"start":"","end":"","panels":[]}`}
)

// kept is a saved query, which has a Source, or a dashboard, which has Panels.
type kept struct {
	control.SavedItem
	saved.Source
	Panels    []saved.Panel
	Variables []saved.Variable
	Start     string
	End       string
}

func newKeeping(k keeping) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use: k.use, Short: k.short,
		Long: fmt.Sprintf(`A %s is named by its name or its id. docs/saved-queries.md tells what may be in it, who sees it, and how to keep it in git.
The token is that of 'headgate sign-in'; a key with the scope query lists, shows and runs.`, k.noun),
		Example: k.examples(
			"list --search errors",
			"create --file FILE",
			"run Errors --var service=checkout --start -24h",
			"show Errors --definition > FILE"),
	}
	f.register(cmd)
	cmd.AddCommand(k.list(&f), k.show(&f), k.run(&f), k.create(&f), k.clone(&f), k.share(&f), k.delete(&f))
	return cmd
}

// examples are command lines of the kind, one a line.
func (k keeping) examples(args ...string) string {
	var lines []string
	for _, a := range args {
		lines = append(lines, "  headgate "+k.use+" "+strings.ReplaceAll(a, "FILE", k.file))
	}
	return strings.Join(lines, "\n")
}

// find returns the id of what has a name in a tenant; an id is itself.
func (k keeping) find(ctx context.Context, c *client, tenant, ref string) (string, error) {
	if len(ref) == 26 && strings.ToUpper(ref) == ref {
		return ref, nil
	}
	query := tenantQuery(tenant)
	query.Set("search", ref)
	found, err := listAll[control.SavedItem](ctx, c, k.path, k.member, query)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, v := range found {
		if strings.EqualFold(v.Name, ref) {
			ids = append(ids, v.ID)
		}
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("no %s %q: 'headgate %s list' shows those that you see", k.noun, oneLine(ref), k.use)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%d have the name %q: name one by its id: %s", len(ids), oneLine(ref), strings.Join(ids, ", "))
}

// at opens the API and returns the path of what ref names.
func (k keeping) at(ctx context.Context, f *clientFlags, tenant, ref string) (*client, string, error) {
	c, err := f.open()
	if err != nil {
		return nil, "", err
	}
	id, err := k.find(ctx, c, tenant, ref)
	return c, k.path + "/" + url.PathEscape(id), err
}

func (k keeping) list(f *clientFlags) *cobra.Command {
	var tenant, search string
	var mine bool
	cmd := &cobra.Command{
		Use: "list", Short: "List what you see of a tenant, by name", Args: exactArgs(),
		Example: k.examples("list", "list --search errors --mine", "list --json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := tenantQuery(tenant)
			if search != "" {
				query.Set("search", search)
			}
			if mine {
				query.Set("mine", "true")
			}
			return showList(cmd, f, k.path, k.member, query, newTable("NAME", "ID", "TENANT", "SHARED WITH", "CHANGED", "DESCRIPTION"), func(v control.SavedItem) []string {
				return []string{oneLine(v.Name), v.ID, oneLine(v.Tenant), sharedWith(v), day(&v.ChangedAt), orDash(v.Description)}
			})
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().StringVar(&search, "search", "", "part of the name or the description")
	cmd.Flags().BoolVar(&mine, "mine", false, "only your own")
	return cmd
}

// sharedWith is who sees an item beside its owner.
func sharedWith(v control.SavedItem) string {
	switch saved.Sharing(v.Sharing) {
	case saved.Private:
		return "-"
	case saved.WithTeam:
		return "team " + v.Team
	}
	return v.Sharing
}

func (k keeping) show(f *clientFlags) *cobra.Command {
	var tenant string
	var definition bool
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show what is in it", Args: exactArgs("NAME"),
		Example: k.examples("show Errors", "show Errors --json", "show Errors --definition > FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, path, err := k.at(cmd.Context(), f, tenant, args[0])
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := c.do(cmd.Context(), http.MethodGet, path, nil, nil, &raw); err != nil {
				return err
			}
			if definition {
				in, err := definitionIn(raw)
				if err != nil {
					return fmt.Errorf("read the answer of %s: %w", c.base, err)
				}
				return printJSON(cmd.OutOrStdout(), in)
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), raw)
			}
			var v kept
			if err := json.Unmarshal(raw, &v); err != nil {
				return fmt.Errorf("read the answer of %s: %w", c.base, err)
			}
			v.print(cmd.OutOrStdout())
			return nil
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().BoolVar(&definition, "definition", false, "print what create takes, as JSON without id, tenant, owner and times")
	return cmd
}

// print shows all but the places of panels.
func (v *kept) print(w io.Writer) {
	about := newTable("NAME", "ID", "TENANT", "SHARED WITH", "CHANGED", "START", "END")
	about.add(oneLine(v.Name), v.ID, oneLine(v.Tenant), sharedWith(v.SavedItem), day(&v.ChangedAt), orDash(v.Start), orDash(v.End))
	about.print(w)
	if v.Description != "" {
		fmt.Fprintf(w, "\n%s\n", oneLine(v.Description))
	}
	if len(v.Variables) > 0 {
		t := newTable("VARIABLE", "TYPE", "DEFAULT", "ONE OF")
		for _, x := range v.Variables {
			var values []string
			for _, one := range x.Values {
				values = append(values, string(one))
			}
			t.add(x.Name, x.Type, orDash(string(x.Default)), orDash(strings.Join(values, " ")))
		}
		fmt.Fprintln(w)
		t.print(w)
	}
	fmt.Fprintln(w)
	if len(v.Panels) == 0 && v.Language != "" {
		t := newTable("LANGUAGE", "QUERY")
		t.add(v.Language, v.text())
		t.print(w)
		return
	}
	t := newTable("PANEL", "TITLE", "DISPLAY", "LANGUAGE", "QUERY")
	for _, p := range v.Panels {
		t.add(p.ID, orDash(p.Title), p.Display, p.Language, (&kept{Source: p.Source}).text())
	}
	t.print(w)
}

// text is the query in either form, on a line.
func (v *kept) text() string {
	if v.Plan != nil {
		return oneLine(string(v.Plan))
	}
	return oneLine(v.Query)
}

// ofItsPlace are the members of what show prints that belong to where it was kept.
var ofItsPlace = []string{"id", "tenant", "tenant_id", "owner_user", "created_at", "changed_at"}

// readDefinition reads the body that makes a thing from a file, "-" for stdin.
func readDefinition(path string, stdin io.Reader) (map[string]json.RawMessage, error) {
	src := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		src = file
	}
	const most = 1 << 20 // the API takes no more
	raw, err := io.ReadAll(io.LimitReader(src, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(raw) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	in, err := definitionIn(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return in, nil
}

// definitionIn reads the body that makes a thing. Of what show printed, which has an id, the members of its place are left out.
func definitionIn(raw []byte) (map[string]json.RawMessage, error) {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if in == nil {
		return nil, errors.New("not a JSON object")
	}
	if _, exported := in["id"]; exported {
		for _, name := range ofItsPlace {
			delete(in, name)
		}
	}
	return in, nil
}

func (k keeping) create(f *clientFlags) *cobra.Command {
	var file, tenant, name, replace string
	var with sharing
	cmd := &cobra.Command{
		Use: "create --file FILE", Short: "Make one of a file with its definition", Args: exactArgs(),
		Long: fmt.Sprintf(`Create makes a %s of a JSON file: the body that the API takes, or what 'headgate %s show' printed, with --definition or --json. Of
the latter the id, the tenant and the owner are not regarded: it is made where --tenant says, and is yours.`, k.noun, k.use),
		Example: k.examples("create --file FILE", "create --file FILE --replace Errors", "create --name Copy --with tenant --file - < FILE"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return &usageError{errors.New("give the definition with --file; - is standard input")}
			}
			in, err := readDefinition(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			if err := with.set(in); err != nil {
				return err
			}
			for member, value := range map[string]string{"tenant": tenant, "name": name} {
				if value != "" {
					in[member] = json.RawMessage(quotedJSON(value))
				}
			}
			method, path, verb := http.MethodPost, k.path, "created"
			if replace != "" {
				delete(in, "tenant")
				if in, err = k.complete(in); err != nil {
					return err
				}
				method, verb = http.MethodPatch, "replaced"
				if _, path, err = k.at(cmd.Context(), f, tenant, replace); err != nil {
					return err
				}
			}
			var made json.RawMessage
			return f.change(cmd, method, path, in, &made, func() string { return verb + " " + named(made) })
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().StringVar(&file, "file", "", "file with the definition; - is standard input")
	cmd.Flags().StringVar(&name, "name", "", "name, in place of that in the file")
	cmd.Flags().StringVar(&replace, "replace", "", "give this one, by name or id, what the file has, in place of making one")
	with.register(cmd)
	return cmd
}

// complete returns a body that leaves nothing of what it is to replace.
func (k keeping) complete(in map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	out, err := definitionIn([]byte(k.empty))
	if err == nil {
		maps.Copy(out, in)
	}
	return out, err
}

// named is the name and id of what the API answered.
func named(raw json.RawMessage) string {
	var v control.SavedItem
	_ = json.Unmarshal(raw, &v) // it was read as JSON before
	return fmt.Sprintf("%s (%s)", oneLine(v.Name), v.ID)
}

func (k keeping) clone(f *clientFlags) *cobra.Command {
	var tenant string
	var in control.Copy
	cmd := &cobra.Command{
		Use: "clone NAME", Short: "Make a private copy, which is yours", Args: exactArgs("NAME"),
		Example: k.examples("clone Errors --name Mine"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, path, err := k.at(cmd.Context(), f, tenant, args[0])
			if err != nil {
				return err
			}
			var made json.RawMessage
			return f.change(cmd, http.MethodPost, path+"/clone", in, &made, func() string { return "created " + named(made) })
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().StringVar(&in.Name, "name", "", "name of the copy (empty: that of the original)")
	return cmd
}

// sharing are the flags that say who sees a thing.
type sharing struct{ with, team string }

func (s *sharing) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.with, "with", "", "tenant, or private: who sees it beside you")
	cmd.Flags().StringVar(&s.team, "team", "", "team, by name or id, that sees it")
}

// set puts into a body what the flags say, if anything.
func (s *sharing) set(in map[string]json.RawMessage) error {
	switch {
	case s.with != "" && s.team != "":
		return &usageError{errors.New("give one of --with and --team")}
	case s.team != "":
		in["sharing"], in["team"] = json.RawMessage(`"team"`), json.RawMessage(quotedJSON(s.team))
	case s.with == string(saved.Private), s.with == string(saved.WithTenant):
		in["sharing"] = json.RawMessage(quotedJSON(s.with))
		delete(in, "team")
	case s.with != "":
		return &usageError{fmt.Errorf("--with %s: want tenant or private, or name a team with --team", s.with)}
	}
	return nil
}

func (k keeping) share(f *clientFlags) *cobra.Command {
	var tenant string
	var with sharing
	cmd := &cobra.Command{
		Use: "share NAME", Short: "Say who sees it: the tenant, a team, or you alone", Args: exactArgs("NAME"),
		Example: k.examples("share Errors --with tenant", "share Errors --team first-line", "share Errors --with private"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if with == (sharing{}) {
				return &usageError{errors.New("give --with tenant, --with private or --team")}
			}
			in := map[string]json.RawMessage{}
			if err := with.set(in); err != nil {
				return err
			}
			_, path, err := k.at(cmd.Context(), f, tenant, args[0])
			if err != nil {
				return err
			}
			var v json.RawMessage
			return f.change(cmd, http.MethodPatch, path, in, &v, func() string {
				var item control.SavedItem
				_ = json.Unmarshal(v, &item) // it was read as JSON before
				return named(v) + " is " + map[bool]string{true: "private", false: "shared with: " + sharedWith(item)}[item.Sharing == string(saved.Private)]
			})
		},
	}
	tenantFlag(cmd, &tenant)
	with.register(cmd)
	return cmd
}

func (k keeping) delete(f *clientFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete it", Args: exactArgs("NAME"),
		Example: k.examples("delete Errors"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, path, err := k.at(cmd.Context(), f, tenant, args[0])
			if err != nil {
				return err
			}
			return f.change(cmd, http.MethodDelete, path, nil, nil, func() string { return "deleted " + oneLine(args[0]) })
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}
