package doctor

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// mistake is something often seen in compose files, scripts and manifests, recognised by its text.
type mistake struct {
	severity Severity
	check    string
	text     *regexp.Regexp
	what     string
	fix      string
}

// mistakes are known by what happened to those who made them.
var mistakes = []mistake{
	{Error, "misspelt_parameter", regexp.MustCompile(`max_standby_(streaming|archive)_delays`),
		"PostgreSQL knows no such parameter: FATAL, and the server never starts", "max_standby_streaming_delay, without s"},
	{Error, "healthcheck_is_no_command", regexp.MustCompile(`pg_isready.*&&\s*(select )?pg_is_in_recovery`),
		"pg_is_in_recovery is a function of SQL, not a program: the check fails always, and what waits for it never starts", "pgkeeper healthcheck --role replica"},
	{Error, "wipes_data_directory", regexp.MustCompile(`rm\s+-[a-z]*r[a-z]*\s+["']?(\$\{?PGDATA\}?|/var/lib/postgresql)`),
		"this removes a data directory: under a server of the image's own entrypoint, or at every start of a pod", "nothing: the agent clones into an empty directory, and moves another aside before it replaces it"},
	{Error, "pgpool_image_variables", regexp.MustCompile(`PGPOOL_BACKEND_(HOSTNAME|PORT|WEIGHT|FLAG|DATA_DIRECTORY)`),
		"no image of Pgpool-II reads this: pgpool/pgpool reads PGPOOL_PARAMS_*, bitnami/pgpool PGPOOL_BACKEND_NODES", "mount the file of pgkeeper render pgpool"},
	{Error, "password_prompt", regexp.MustCompile(`pg_basebackup\b.*\s(-[a-zA-Z]*W|--password)\b`),
		"-W asks for a password although PGPASSWORD is set, and in a container nobody answers", "leave -W out, or -w; pgkeeper clones by itself"},
	{Error, "envsubst_token", regexp.MustCompile(`%[A-Z][A-Z0-9_]*%`),
		"envsubst replaces $NAME and ${NAME} only: this stays as it is", "one service and --scale, or pgkeeper render compose --replicas N"},
	{Warning, "replication_user_variables", regexp.MustCompile(`POSTGRES_REPLICATION_(USER|PASSWORD)`),
		"PostgreSQL's own image reads no such variable: no role is made", "postgresql.authentication.replication: the agent makes the role and its line in pg_hba.conf"},
	{Warning, "replication_user_reads_all", regexp.MustCompile(`(?i)grant\s+select\s+on\s+all\s+tables.*\bto\s+\w*repl`),
		"streaming needs the attribute REPLICATION and no right on any table", "leave it out"},
	{Warning, "lag_by_timestamp", regexp.MustCompile(`(?i)now\(\)\s*-\s*pg_last_xact_replay_timestamp\(\)`),
		"this grows on an idle primary although the standby has everything, and is NULL on a fresh standby", "GET /replica?lag=16MB of the agent, or pgkeeper_replication_lag_bytes"},
	{Error, "invented_flag", regexp.MustCompile(`create-db-instance-read-replica\b.*--count|--replica-count\b|replica create\b.*--count`),
		"the command has no such flag", "a loop, or count in Terraform: deploy/terraform"},
	{Error, "pgcat_format", regexp.MustCompile(`(^|\s)PGCAT_CONFIG\b|^\s*\[databases\.|^\s*\[sharding\]`),
		"PgCat knows no such name: its file has [general], [pools.NAME], [pools.NAME.users.N] and [pools.NAME.shards.N]", "pgkeeper render pgcat"},
	{Warning, "container_name", regexp.MustCompile(`^\s*container_name:`),
		"a name stands for one container: this service cannot be scaled", "leave it out"},
	{Note, "compose_version", regexp.MustCompile(`^version:\s*["']?[23]`),
		"docker compose ignores it and says so", "leave it out (docker stack still wants it)"},
	{Warning, "standbys_limited", regexp.MustCompile(`max_(wal_senders|replication_slots)\s*[=:]\s*["']?[1-4]\b`),
		"each standby needs one, and a clone under way two more: a fourth standby, or one that is made anew, is refused", "10, the default, or more"},
}

// Text reads any file of a deployment, a compose file or a script, for mistakes that are known by their text.
func Text(file, text string) []Finding {
	f := &findings{file: file}
	for _, l := range commands(text) {
		for _, m := range mistakes {
			for _, at := range m.text.FindAllStringIndex(l.text, -1) {
				f.add(m.severity, m.check, l.number+strings.Count(l.text[:at[1]], joint), m.fix, "%s", m.what)
			}
		}
	}
	if strings.HasSuffix(file, ".yml") || strings.HasSuffix(file, ".yaml") {
		f.compose(text)
	}
	return f.sorted()
}

// joint stands where lines were joined: the expressions take it for any other blank.
const joint = "\f"

// command is a line, or several of which all but the last end in a backslash.
type command struct {
	text string
	// number is that of the first line.
	number int
}

// commands are the lines of a file without comments, joined where they are continued. Only one that is not continued may
// begin with two dashes as a comment of SQL.
func commands(text string) []command {
	var all []command
	continued := false
	for i, line := range strings.Split(strings.ReplaceAll(text, joint, " "), "\n") {
		line = strings.TrimSuffix(line, "\r")
		trimmed := strings.TrimSpace(line)
		comment := strings.HasPrefix(trimmed, "#")
		if comment || !continued && strings.HasPrefix(trimmed, "--") {
			line = ""
		}
		line, ends := strings.CutSuffix(line, `\`)
		if continued {
			all[len(all)-1].text += joint + line
		} else {
			all = append(all, command{line, i + 1})
		}
		continued = ends || continued && comment
	}
	return all
}

// composeService is what is looked at of a service.
type composeService struct {
	Scale   int
	Volumes []any
	Deploy  struct{ Replicas int }
}

// compose finds what only the whole document shows.
func (f *findings) compose(text string) {
	if strings.Contains(text, "\n---") {
		return // several documents: manifests, not compose
	}
	var c struct {
		Services map[string]composeService
		Volumes  map[string]any
	}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		f.add(Error, "no_yaml", 0, "lines of one block begin in one column; pgkeeper render compose writes such a file", "this is no YAML: %s", firstLine(err.Error()))
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		service := c.Services[name]
		for _, v := range service.Volumes {
			source, line := volumeOf(v, text)
			if source == "" {
				continue
			}
			definition, declared := c.Volumes[source]
			if !declared {
				f.add(Error, "volume_not_declared", line, "volumes: {"+source+": {}} at the top level", "service %s uses the volume %s, which is declared nowhere", name, source)
			}
			if max(service.Scale, service.Deploy.Replicas) > 1 && !ofEachTask(definition) {
				f.add(Error, "shared_volume", line, "an anonymous volume: - /var/lib/postgresql", "all containers of %s share the volume %s: two servers on one data directory", name, source)
			}
		}
	}
}

// volumeOf is the named volume that a service mounts, by the short form or the long one, and the line that says so.
func volumeOf(mount any, text string) (name string, line int) {
	if long, ok := mount.(map[string]any); ok {
		if name = asText(long["source"]); asText(long["type"]) != "volume" || name == "" {
			return "", 0
		}
		return name, lineOf(text, "source: "+name)
	}
	name, _, mounted := strings.Cut(asText(mount), ":")
	if !mounted || strings.ContainsAny(name[:min(1, len(name))], "./~$") {
		return "", 0
	}
	return name, lineOf(text, name+":")
}

// ofEachTask tells whether a swarm makes the volume anew for each of its tasks.
func ofEachTask(definition any) bool {
	fields, _ := definition.(map[string]any)
	return strings.Contains(asText(fields["name"]), "{{.Task.")
}

func asText(v any) string {
	s, _ := v.(string)
	return s
}

// lineOf is the first line that holds the text, 0 when none does.
func lineOf(text, part string) int {
	before, _, found := strings.Cut(text, part)
	if !found {
		return 0
	}
	return strings.Count(before, "\n") + 1
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
