//! Every SQL text of the system, one table. A test prepares each of them on both engines.
//!
//! Written in the subset that SQLite and Postgres share. `{list}` stands for placeholders that are written out when the
//! number of values is known, `{rows}` for whole rows of them. Where a text must differ between the engines it stands
//! twice, ending in `_SQLITE` and `_POSTGRES`; there are few such pairs (claim a job, lock blobs at push and in the
//! collector, the recursive step of the graph, what the catalogue says to a copy).
//!
//! `$1` is the reader wherever a statement shows repositories: reader 0 reads all of them, any other those that
//! `reader_repository` gives it.

use std::fmt::Write as _;

use crate::db::Engine;

macro_rules! statements {
    ($($(#[$about:meta])* $name:ident: $text:expr;)*) => {
        $($(#[$about])* pub(crate) const $name: &str = $text;)*
        /// Every statement, by name.
        pub(crate) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

/// Whether the reader `$1` may read the repository that `$column` names.
macro_rules! readable {
    ($column:literal) => {
        concat!(
            "($1 = 0 or exists (select 1 from reader_repository v where v.reader = $1 and v.repository_id = ",
            $column,
            "))"
        )
    };
}

/// The repository `$2`, if the reader may read it: one value, so that Postgres walks an index of its tags in order.
macro_rules! repository_readable {
    () => {
        concat!("(select r.id from repository r where r.name = $2 and ", readable!("r.id"), ")")
    };
}

/// Whether an event had its tag name something else than before; `tag_event_change` has these words.
macro_rules! changes {
    ($event:literal) => {
        concat!(
            "(",
            $event,
            ".manifest_id is null or ",
            $event,
            ".previous_id is null or ",
            $event,
            ".manifest_id <> ",
            $event,
            ".previous_id)"
        )
    };
}

/// What is told of an event of tag `$3` in repository `$2`, and of the manifest that it is about.
macro_rules! tag_events {
    () => {
        tag_events!("", "")
    };
    ($columns:literal, $joined:literal) => {
        concat!(
            "select ", $columns, "e.at, e.act, m.digest as target, p.digest as previous, e.actor, e.reason, coalesce(m.size, p.size) as size,
               (select o.media_type from occurrence o
                where o.repository_id = e.repository_id and o.manifest_id = coalesce(e.manifest_id, e.previous_id)
                order by o.id limit 1) as media_type
             from tag_event e left join manifest m on m.id = e.manifest_id left join manifest p on p.id = e.previous_id ",
            $joined,
            " where e.repository_id = ", repository_readable!(), " and e.name = $3")
    };
}

/// The layers in which the file `$4` and `$5` stands, and the layer `$6` that is the file.
macro_rules! file_layers {
    () => {
        "select y.id as layer_id from layer_file f join layer y on y.scan_id = f.scan_id
         where f.sha256_head = $4 and f.sha256_tail = $5
         union all select y.id from layer y where y.digest = $6"
    };
}

/// Whether the manifest of `b` was in a readable repository at `$2`.
macro_rules! held_by_readable {
    () => {
        concat!(
            "exists (select 1 from occurrence o where o.manifest_id = b.manifest_id and o.opened_at <= $2 and ",
            readable!("o.repository_id"),
            ")"
        )
    };
}

/// Whether what an edge says had happened by then, by the producer's word or else when it was first said: an edge is recorded anew
/// when its grade changes. Mostly there is no such moment, and nothing is looked up.
macro_rules! edge_happened {
    ($happened:literal) => {
        concat!(
            "(",
            $happened,
            " = 9223372036854775807
               or coalesce(e.occurred_at, (select q.recorded_at from claim q where q.id = e.claim_id)) <= ",
            $happened,
            ")"
        )
    };
}

/// Use in training and derivation count, testing does not, nor what was not yet or no longer said at `$2`; nor, if a moment is given,
/// what happened after it by its producer's word.
macro_rules! edge_counts {
    () => {
        concat!(
            "e.kind in (1, 3, 4, 5) and e.grade >= $3 and e.recorded_at <= $2 and (e.retracted_at is null or e.retracted_at > $2) and ",
            readable!("e.repository_id")
        )
    };
    ($happened:literal) => {
        concat!(edge_counts!(), " and ", edge_happened!($happened))
    };
}

macro_rules! child_counts {
    () => {
        concat!(
            "exists (select 1 from occurrence o where o.manifest_id = c.parent_id and o.opened_at <= $2 and ",
            readable!("o.repository_id"),
            ")"
        )
    };
}

/// Whether a manifest that is in a repository needs the blob `b`.
macro_rules! needed {
    () => {
        "exists (select 1 from manifest_blob m
           join occurrence o on o.manifest_id = m.manifest_id and o.closed_at is null where m.digest = b.digest)"
    };
}

/// Whether nobody has needed the blob `b` since before `$1`, nor is about to look into it.
macro_rules! unneeded {
    () => {
        concat!(
            "b.state = 0 and b.review_at < $1 and not ",
            needed!(),
            " and not exists (select 1 from layer y where y.digest = b.digest and y.state in (0, 4))"
        )
    };
}

/// Whether the manifest that `$column` names is, or was, in a repository that `$1` may read.
macro_rules! manifest_readable {
    ($column:literal) => {
        concat!(
            "($1 = 0 or exists (select 1 from occurrence o where o.manifest_id = ",
            $column,
            " and ",
            readable!("o.repository_id"),
            "))"
        )
    };
}

/// The words from `$2` to `$3` in the fields from `$4` to `$5`.
macro_rules! word_hits {
    () => {
        concat!(
            "select w.manifest_id, w.position, w.field, w.word = $2 from kit_word w
             where w.word >= $2 and w.word <= $3 and w.field >= $4 and w.field <= $5 and ",
            manifest_readable!("w.manifest_id")
        )
    };
}

/// The words of repositories' names from `$2` to `$3`, at the positions from `$4` on. What is attached to a kit, such as its
/// signature, is not meant by whoever writes the repository's name.
macro_rules! repository_word_hits {
    () => {
        concat!(
            "select distinct o.manifest_id, w.repository_id, w.position, w.word = $2 from repository_word w
               join occurrence o on o.repository_id = w.repository_id
               join kit k on k.manifest_id = o.manifest_id and k.kind <> 'attachment'
             where w.word >= $2 and w.word <= $3 and w.position >= $4 and ",
            readable!("w.repository_id")
        )
    };
}

/// The kits with the parameter `$2`, or one that lies between `$3` and `$4`, which are those below it.
macro_rules! parameter_hits {
    () => {
        concat!(
            "select distinct p.manifest_id from kit_parameter p
             where (p.pointer = $2 or (p.pointer >= $3 and p.pointer < $4)) and ",
            manifest_readable!("p.manifest_id")
        )
    };
}

/// The kits with the parameter `$2` of the value `$3` or `$4`.
macro_rules! parameter_value_hits {
    () => {
        concat!(
            "select distinct p.manifest_id from kit_parameter p where p.pointer = $2 and p.value in ($3, $4) and ",
            manifest_readable!("p.manifest_id")
        )
    };
}

/// How long a job that took its worker down waits before it is tried again: a second, and twice as long each time.
macro_rules! after_a_crash {
    () => {
        "(cast(1000000 as bigint) << (case when attempts < 11 then attempts else 11 end))"
    };
}

/// Whether the manifest `m` comes after `$3` and is to be rebuilt: in repository `$1`, if that is one, and where `$2` says so
/// only what is not wholly understood.
macro_rules! manifest_in_scope {
    () => {
        "m.id > $3
           and ($2 = false or not exists (select 1 from kit k where k.manifest_id = m.id and not k.incomplete))
           and ($1 = '' or exists (
             select 1 from occurrence o join repository r on r.id = o.repository_id
             where o.manifest_id = m.id and r.name = $1))"
    };
}

/// Whether the layer `y` is or was in a readable repository, and in `$2`, if that is not 0.
macro_rules! layer_seen {
    () => {
        concat!(
            "(($1 = 0 and $2 = 0) or exists (
               select 1 from manifest_blob b join occurrence o on o.manifest_id = b.manifest_id
               where b.layer_id = y.id and ($2 = 0 or o.repository_id = $2) and ",
            readable!("o.repository_id"),
            "))"
        )
    };
}

/// What is said of a layer that is not wholly known.
macro_rules! layer_gap {
    () => {
        "select y.id, y.digest, y.size, y.state, y.reason, y.scanner, s.finished_at, j.created_at, j.attempts, j.reason as job_reason,
           j.run_at, j.owner is not null as held
         from layer y left join scan s on s.id = y.scan_id left join job j on j.kind = 0 and j.subject = cast(y.id as text)
         where "
    };
}

/// References that name nothing, after `$3`.
macro_rules! reference_gap {
    ($which:expr) => {
        concat!(
            "select f.id, f.declared, r.name, m.digest, q.recorded_at,
               (select min(t.name) from tag t where t.repository_id = f.repository_id and t.manifest_id = f.source_id)
             from reference f join repository r on r.id = f.repository_id join manifest m on m.id = f.source_id
               join claim q on q.id = f.claim_id
             where ", $which, " and f.id > $3 and ($2 = 0 or f.repository_id = $2) order by f.id limit $4")
    };
}

/// A reference that names nothing that the reader may read: to them it looks the same whether or not its target is there.
macro_rules! unresolved_readable {
    () => {
        concat!(
            "(f.state = 1 or (f.state = 0 and not exists (
               select 1 from occurrence o where o.manifest_id = f.resolved_id and ",
            readable!("o.repository_id"),
            ")))
             and ",
            readable!("f.repository_id")
        )
    };
}

/// The manifests whose layers hold the file, or are it, and that were in a readable repository at `$2`.
macro_rules! file_holders {
    () => {
        concat!(
            "select b.manifest_id from manifest_blob b where b.layer_id in (",
            file_layers!(),
            ") and ",
            held_by_readable!(),
            " union all select n.id from node n where n.kind = 0 and n.key = $6"
        )
    };
}

/// Whether `f` is a place of the file of these eight bytes and those behind them. Postgres takes few of the places with the first
/// to have the others, and would plan for few where there are very many; it knows nothing of a `case`.
macro_rules! file_places {
    ($head:literal, $tail:literal) => {
        concat!("f.sha256_head = ", $head, " and case when f.sha256_tail = ", $tail, " then true else false end")
    };
}

/// The layers' manifests of the file `$4` and `$5`, and of the layer `$6` that is the file.
macro_rules! all_file_holders {
    () => {
        concat!(
            "select b.manifest_id from layer_file f cross join layer y cross join manifest_blob b
             where ", file_places!("$4", "$5"), " and y.scan_id = f.scan_id and b.layer_id = y.id
             union all
             select b.manifest_id from layer y cross join manifest_blob b where y.digest = $6 and b.layer_id = y.id"
        )
    };
}

/// What layers that hold the file `$3` and `$4` are called by those who name them by their digests. Few things are called anything
/// without being manifests, which SQLite has to be told: it would look through all nodes.
macro_rules! names_with_file {
    ($tables:literal) => {
        concat!(
            "select distinct n.id from ",
            $tables,
            "
             where n.kind = 0 and not n.is_manifest and y.digest = n.key and f.scan_id = y.scan_id
               and f.sha256_head = $3 and f.sha256_tail = $4
               and exists (select 1 from manifest_blob b where b.layer_id = y.id and ",
            held_by_readable!(),
            ") order by n.id"
        )
    };
}

/// Whether the manifest `m` was in a readable repository at `$2`.
macro_rules! was_readable {
    () => {
        concat!(
            "(($1 = 0 and m.first_at <= $2) or ($1 <> 0 and exists (
               select 1 from occurrence o where o.manifest_id = m.id and o.opened_at <= $2 and ",
            readable!("o.repository_id"),
            ")))"
        )
    };
}

/// Pulls that are asked for, newest first: in repository `$2` if that is not 0, of digest `$3`, by actor `$4`, of kind `$5`.
/// `$first` is the one of these that there is an index for.
macro_rules! pulls_page {
    ($first:literal) => {
        concat!(
            "select p.id, r.name, p.kind, p.digest, p.tag, p.redirected, p.actor, p.address, p.agent, p.last_at, p.pulls
             from pull p cross join repository r
             where ", $first, "r.id = p.repository_id and ($2 = 0 or p.repository_id = $2) and (p.digest = $3 or $3 is null)
               and ($4 = '' or p.actor = $4) and ($5 < 0 or p.kind = $5) and p.id < $6 and p.id >= $7 and p.last_at >= $8 and ",
            readable!("p.repository_id"), " order by p.id desc limit $9")
    };
}

/// Records that are asked for, behind `$9` and `$10` in their order: in repository `$2` if that is not 0, of digest `$3`, by
/// actor `$4`, of action `$5`, with `$6` among their tags. `$first` is the one of these that there is an index for.
macro_rules! audit_page {
    (newest $first:literal) => {
        audit_page!($first, "<", "a.at desc, a.id desc")
    };
    (oldest $first:literal) => {
        audit_page!($first, ">", "a.at, a.id")
    };
    ($first:literal, $behind:literal, $order:literal) => {
        concat!(
            "select a.id, a.at, a.actor, a.request_id, a.action, r.name, a.digest, a.tag, a.detail
             from audit a left join repository r on r.id = a.repository_id
             where ",
            $first,
            "($2 = 0 or a.repository_id = $2) and (a.digest = $3 or $3 is null)
               and ($4 = '' or a.actor = $4) and ($5 = '' or a.action = $5)
               and ($6 = '' or replace(',' || a.tag || ',', ',' || $6 || ',', '') <> ',' || a.tag || ',')
               and a.at >= $7 and a.at < $8 and (a.at, a.id) ",
            $behind,
            " ($9, $10) and ",
            readable!("a.repository_id"),
            " order by ",
            $order,
            " limit $11"
        )
    };
}

/// All that some content affects, at once: whatever holds it, whatever leads there, and the links on the way. Rows of three
/// kinds: (0, holder, …), (1, what leads to one and holds it not, …), (2, from, to, kind or null where an index lists). What
/// uses a holder is looked up for all of them together, before those that are holders too are left out of it, and from there on
/// node by node.
macro_rules! affected {
    ($engine:ident, $holders:expr) => {
        concat!(
            "with recursive held (id, digest, is_model) as materialized (
               select distinct m.id, m.digest, k.is_model from (", $holders, ") h cross join manifest m cross join kit k
               where m.id = h.manifest_id and k.manifest_id = m.id and ", was_readable!(), "),
             used (id, target, kind) as materialized (
               select e.source_id, e.target_id, e.kind from held h cross join edge e
               where e.target_id = h.id and ", edge_counts!(), "
               union all
               select c.parent_id, c.child_id, null from held h cross join manifest_child c
               where c.child_id = h.id and ", child_counts!(), "
               union all
               select e.source_id, e.target_id, e.kind from node n cross join edge e
               where n.kind = 0 and n.key = $6 and e.target_id = n.id
                 and not exists (select 1 from held x where x.id = n.id) and ", edge_counts!(), "),
             first (id, target, kind) as materialized (
               select u.id, u.target, u.kind from used u where not exists (select 1 from held x where x.id = u.id)),
             walked (id) as (select f.id from first f union ", affected!(@$engine), ")
             select 0, h.id, cast(null as bigint), cast(null as integer), h.digest, h.is_model from held h
             union all
             select 2, f.id, f.target, f.kind, null, null from first f",
            affected!(@$engine each "manifest m cross join kit k", "1, m.id, cast(null as bigint), cast(null as integer), m.digest, k.is_model",
                "m.id = w.id and k.manifest_id = w.id and ", was_readable!()),
            affected!(@$engine each "edge e", "2, e.source_id, e.target_id, e.kind, cast(null as bytea), cast(null as boolean)",
                "e.target_id = w.id and ", edge_counts!()),
            affected!(@$engine each "manifest_child c", "2, c.parent_id, c.child_id, cast(null as integer), cast(null as bytea), cast(null as boolean)",
                "c.child_id = w.id and ", child_counts!())
        )
    };
    (@sqlite) => {
        concat!(
            "select e.source_id from walked w join edge e on e.target_id = w.id where ", edge_counts!(),
            " union select c.parent_id from walked w join manifest_child c on c.child_id = w.id where ", child_counts!()
        )
    };
    (@postgres) => {
        concat!(
            "select x.id from walked w cross join lateral (
               select e.source_id as id from edge e where e.target_id = w.id and ", edge_counts!(), "
               union all
               select c.parent_id from manifest_child c where c.child_id = w.id and ", child_counts!(), "
               offset 0) x"
        )
    };
    (@sqlite each $tables:literal, $columns:literal, $joined:literal, $counts:expr) => {
        concat!(" union all select ", $columns, " from walked w cross join ", $tables, " where ", $joined, $counts)
    };
    (@postgres each $tables:literal, $columns:literal, $joined:literal, $counts:expr) => {
        concat!(
            " union all select x.* from walked w cross join lateral (
               select ", $columns, " from ", $tables, " where ", $joined, $counts, " offset 0) x"
        )
    };
}

/// The links at some nodes themselves, as [`walk!`] would begin.
macro_rules! step {
    (users) => {
        step!("", "e.target_id", "c.child_id")
    };
    (uses) => {
        step!("e.kind <> 3 and ", "e.source_id", "c.parent_id")
    };
    ($kind:literal, $at:literal, $child_at:literal) => {
        concat!(
            "select e.source_id, e.target_id, e.id, e.kind, e.grade, e.occurrence_id, e.repository_id, e.everywhere
               from edge e where ",
            $at,
            " in ({list}) and ",
            $kind,
            edge_counts!("$4"),
            "
             union all
             select c.parent_id, c.child_id, null, null, null, null, null, null
               from manifest_child c where ",
            $child_at,
            " in ({list}) and ",
            child_counts!()
        )
    };
}

/// All that is walked from some nodes, as the links to and between them: (from, to, edge or null, …). To their `users` by use,
/// derivation and membership in an index; or along their `uses`, and what an index of these lists, which costs no distance.
/// `$2` is the moment, and `$happened` until when it happened by its producer's word, or else was recorded. SQLite takes the tables of a `cross join` in their order: from what was walked to its edges, of which there
/// are many; Postgres does so for what is lateral, and would else read all edges, for it cannot tell how few are walked.
macro_rules! walk {
    ($engine:ident, users of $nodes:expr, until $happened:literal) => {
        walk!(@$engine $nodes, $happened, "", "e.target_id", "e.source_id", "c.child_id", "c.parent_id")
    };
    ($engine:ident, uses of $nodes:expr, until $happened:literal) => {
        walk!(@$engine $nodes, $happened, "e.kind <> 3 and ", "e.source_id", "e.target_id", "c.parent_id", "c.child_id")
    };
    (@sqlite $nodes:expr, $happened:literal, $kind:literal, $at:literal, $next:literal, $child_at:literal, $child_next:literal) => {
        concat!(
            "with recursive walked (id) as (", $nodes,
            " union select ", $next, " from walked w join edge e on ", $at, " = w.id where ", $kind, edge_counts!($happened),
            " union select ", $child_next, " from walked w join manifest_child c on ", $child_at, " = w.id where ", child_counts!(),
            ") select e.source_id, e.target_id, e.id, e.kind, e.grade, e.occurrence_id, e.repository_id, e.everywhere
                from walked w cross join edge e where ", $at, " = w.id and ", $kind, edge_counts!($happened),
            " union all
              select c.parent_id, c.child_id, null, null, null, null, null, null
                from walked w cross join manifest_child c where ", $child_at, " = w.id and ", child_counts!()
        )
    };
    (@postgres $nodes:expr, $happened:literal, $kind:literal, $at:literal, $next:literal, $child_at:literal, $child_next:literal) => {
        concat!(
            "with recursive walked (id) as (", $nodes, " union select x.id from walked w cross join lateral (
               select ", $next, " as id from edge e where ", $at, " = w.id and ", $kind, edge_counts!($happened), "
               union all
               select ", $child_next, " from manifest_child c where ", $child_at, " = w.id and ", child_counts!(), "
               offset 0) x)
             select l.* from walked w cross join lateral (
               select e.source_id, e.target_id, e.id, e.kind, e.grade, e.occurrence_id, e.repository_id, e.everywhere
                 from edge e where ", $at, " = w.id and ", $kind, edge_counts!($happened), "
               union all
               select c.parent_id, c.child_id, null, null, null, null, null, null
                 from manifest_child c where ", $child_at, " = w.id and ", child_counts!(), "
               offset 0) l"
        )
    };
}

/// Whether an edge is told in a lineage: said at `$2`, graded `$3` or better, and of before `$4` by its producer's word. A tag that
/// was resolved to what the reader may not read looks as if its target were not there.
macro_rules! edge_told {
    () => {
        concat!(
            "e.grade >= $3 and e.recorded_at <= $2 and (e.retracted_at is null or e.retracted_at > $2)
               and ", edge_happened!("$4"), " and ", readable!("e.repository_id"), "
               and ($1 = 0
                 or not exists (select 1 from reference f where f.id = e.reference_id and f.target_tag is not null and f.state = 0)
                 or exists (select 1 from occurrence o where o.manifest_id = e.target_id and o.opened_at <= $2 and ",
            readable!("o.repository_id"), "))"
        )
    };
}

/// The lineage of some nodes in one direction, as links: the edges of each node that is reached, and what indexes list. What is
/// only packaged or tested with something is told, and not followed. A step along an edge counts `$5`: 0 where there is no limit,
/// so that a node is met once; else at most `$6` of them are gone.
macro_rules! lineage {
    ($engine:ident, ancestors $what:ident) => {
        lineage!(@$engine $what "e.source_id", "e.target_id", "c.parent_id", "c.child_id")
    };
    ($engine:ident, descendants $what:ident) => {
        lineage!(@$engine $what "e.target_id", "e.source_id", "c.child_id", "c.parent_id")
    };
    (@sqlite $what:ident $at:literal, $next:literal, $child_at:literal, $child_next:literal) => {
        concat!(
            "with recursive walked (id, steps) as (select n.id, 0 from node n where n.id in ({list})
               union select ", $next, ", w.steps + $5 from walked w cross join edge e
                 where ", $at, " = w.id and w.steps < $6 and e.kind in (1, 3, 4, 5) and ", edge_told!(), "
               union select ", $child_next, ", w.steps from walked w cross join manifest_child c
                 where ", $child_at, " = w.id and ", child_counts!(), ")",
            lineage!(@$what $at, $next, $child_at, $child_next)
        )
    };
    (@postgres $what:ident $at:literal, $next:literal, $child_at:literal, $child_next:literal) => {
        concat!(
            "with recursive walked (id, steps) as (select n.id, 0 from node n where n.id in ({list})
               union select x.id, x.steps from walked w cross join lateral (
                 select ", $next, " as id, w.steps + $5 as steps from edge e
                   where ", $at, " = w.id and w.steps < $6 and e.kind in (1, 3, 4, 5) and ", edge_told!(), "
                 union all
                 select ", $child_next, ", w.steps from manifest_child c where ", $child_at, " = w.id and ", child_counts!(), "
                 offset 0) x)",
            lineage!(@$what $at, $next, $child_at, $child_next)
        )
    };
    (@links $at:literal, $next:literal, $child_at:literal, $child_next:literal) => {
        concat!(
            " select e.source_id, e.target_id, e.id, e.kind, e.grade, e.occurrence_id, e.repository_id, e.everywhere
                from (select distinct w.id from walked w where w.steps < $6) w cross join edge e where ", $at, " = w.id and ",
            edge_told!(), "
              union all
              select c.parent_id, c.child_id, null, null, null, null, null, null
                from (select distinct w.id from walked w) w cross join manifest_child c where ", $child_at, " = w.id and ",
            child_counts!()
        )
    };
    // The same, each with what is known of the node that it leads to.
    (@told $at:literal, $next:literal, $child_at:literal, $child_next:literal) => {
        concat!(
            " select e.source_id, e.target_id, e.id, e.kind, e.grade, e.occurrence_id, e.repository_id, e.everywhere, ", far!(), "
                from (select distinct w.id from walked w where w.steps < $6) w cross join edge e cross join node n
                where ", $at, " = w.id and n.id = ", $next, " and ", edge_told!(), "
              union all
              select c.parent_id, c.child_id, null, null, null, null, null, null, ", far!(), "
                from (select distinct w.id from walked w) w cross join manifest_child c cross join node n
                where ", $child_at, " = w.id and n.id = ", $child_next, " and ", child_counts!()
        )
    };
}

/// What is known of the node `n`: of a manifest that was not readable at `$2`, its digest alone.
macro_rules! far {
    () => {
        concat!(
            "n.kind, n.key, (select k.is_model from kit k cross join manifest m
               where k.manifest_id = n.id and m.id = k.manifest_id and ",
            was_readable!(),
            ")"
        )
    };
}

/// The edges that stand and of which `$which` is true, with all that another in the place of one would have.
macro_rules! standing_edges {
    ($which:literal $(, $order:literal)?) => {
        concat!(
            "select id, kind, grade, source_id, occurrence_id, everywhere, target_id, claim_id, reference_id, repository_id, occurred_at
             from edge where retracted_at is null and ",
            $which $(, $order)?
        )
    };
}

statements! {
    STORE_MARK: "select mark from store where copy_of is null";
    STORE_SET_MARK: "insert into store (mark) values ($1)";
    STORE_COPY: "select copy_of, mark from store where copy_of is not null";
    STORE_COPY_BEGIN: "insert into store (mark, copy_of) values ($1, $2)";
    STORE_COPY_END: "update store set copy_of = null where mark = $1 and copy_of is not null";

    REPOSITORY_FIND: concat!("select r.id from repository r where r.name = $2 and ", readable!("r.id"));
    REPOSITORY_INSERT: "insert into repository (name, created_at) values ($1, $2) on conflict (name) do nothing returning id";
    REPOSITORY_LIST: concat!(
        "select r.id, r.name, r.created_at,
           (select count(*) from tag t where t.repository_id = r.id and t.manifest_id is not null),
           (select count(*) from occurrence o where o.repository_id = r.id and o.closed_at is null)
         from repository r where r.name > $2 and ", readable!("r.id"), " order by r.name limit $3");
    REPOSITORY_NAMES: concat!(
        "select r.name from repository r where r.name > $2 and ", readable!("r.id"), " order by r.name limit $3");
    READER_GRANT: "insert into reader_repository (reader, repository_id) values ($1, $2) on conflict do nothing";

    BLOB_LINKED: concat!(
        "select b.id, b.size, b.object_key, b.review_at from repository r
           join blob_link l on l.repository_id = r.id
           join blob b on b.id = l.blob_id
         where r.name = $2 and b.digest = $3 and b.state = 0 and ", readable!("r.id"));
    BLOB_READABLE: concat!(
        "select b.id, b.size, b.object_key, b.review_at from blob b
         where b.digest = $2 and b.state = 0
           and exists (select 1 from blob_link l where l.blob_id = b.id and ", readable!("l.repository_id"), ")");
    BLOB_FIND: "select id, size, object_key, review_at from blob where digest = $1 and state = 0";
    BLOB_INSERT:
        "insert into blob (digest, size, object_key, state, created_at, review_at) values ($1, $2, $3, 0, $4, $4)
         on conflict (digest) do update set object_key = excluded.object_key, state = 0, review_at = excluded.review_at
           where blob.state = 1 and blob.object_key = $5
         returning id";
    BLOB_REPLACE: "update blob set object_key = $3 where id = $1 and object_key = $2 and state = 0";
    /// A blob that comes back while its object is being deleted gets another object; the old one stays recorded, by whoever
    /// is first.
    BLOB_REVIVED:
        "insert into upload (id, repository_id, object_key, state, received, hash_state, writer, writer_until, created_at,
           created_by, used_at)
         select $1, $2, b.object_key, 1, 0, b.digest, null, 0, $3, '', $3 from blob b where b.digest = $4 and b.state = 1
         on conflict (object_key) do nothing returning object_key";
    BLOB_TOUCH: "update blob set review_at = $2 where id = $1 and state = 0";
    BLOBS_OF_MANIFEST_REVIEW:
        "update blob set review_at = $2
         where state = 0 and digest in (select digest from manifest_blob where manifest_id = $1)";
    BLOB_LINK: "insert into blob_link (repository_id, blob_id, created_at) values ($1, $2, $3) on conflict do nothing";
    BLOB_UNLINK:
        "delete from blob_link where repository_id = $1 and blob_id = (select id from blob where digest = $2 and state = 0)";
    /// In the order of their digests, so that two pushes never wait for each other in a circle. FOR KEY SHARE conflicts
    /// with the collector's FOR UPDATE alone.
    BLOB_LOCK_POSTGRES:
        "select b.digest, b.size from blob b join blob_link l on l.blob_id = b.id and l.repository_id = $1
         where b.state = 0 and b.digest in ({list})
         order by b.digest for key share of b, l";
    /// SQLite has one writer: its transaction is the lock.
    BLOB_LOCK_SQLITE:
        "select b.digest, b.size from blob b join blob_link l on l.blob_id = b.id and l.repository_id = $1
         where b.state = 0 and b.digest in ({list})
         order by b.digest";
    BLOB_NEEDED:
        "select m.digest from manifest_blob b
           join occurrence o on o.manifest_id = b.manifest_id and o.repository_id = $1 and o.closed_at is null
           join manifest m on m.id = b.manifest_id
         where b.digest = $2 limit 1";
    BLOB_PAGE: "select id, digest, size, object_key from blob where id > $1 and state = 0 order by id limit $2";

    /// The collector's two steps: the candidates are locked, and then, in a statement that sees what has been committed
    /// since, those that nobody needs are marked. In one statement, a push that holds a row would not be seen.
    GC_DUE_POSTGRES:
        "select id from blob where review_at < $1 and state = 0 order by review_at, id limit $2 for update skip locked";
    GC_DUE_SQLITE: "select id from blob where review_at < $1 and state = 0 order by review_at, id limit $2";
    GC_MARK: concat!(
        "update blob as b set state = 1, review_at = null
         where ", unneeded!(), " and b.id in ({list}) returning id, digest, size, object_key");
    /// What is needed is looked at again when it is given up; what is still to be scanned, some time later.
    GC_KEEP: concat!(
        "update blob as b set review_at = case when ", needed!(), " then null else cast($1 as bigint) end where b.state = 0 and b.id in ({list})");
    GC_UNLINK: "delete from blob_link where blob_id in ({list})";
    GC_MARKED: "select id, digest, size, object_key from blob where state = 1 order by id limit $1";
    GC_AUDIT:
        "insert into audit (at, actor, request_id, action, digest)
         select cast($1 as bigint), $2, $3, 'gc.blob', b.digest from blob b where b.id in ({list}) order by b.id";
    /// Writes what stands there, so that a commit makes durable what relaxed ones wrote.
    GC_SETTLE: "update blob set state = 1 where id = $1 and state = 1";
    /// By key: a blob that has come back meanwhile has another one.
    GC_FORGET: "delete from blob where state = 1 and object_key in ({list})";
    GC_COUNT: concat!("select count(*), cast(coalesce(sum(b.size), 0) as bigint) from blob b where ", unneeded!());
    /// Manifests that no tag names, no index lists and that refer to none that is there.
    GC_UNTAGGED:
        "select r.name, m.digest from occurrence o
           join repository r on r.id = o.repository_id join manifest m on m.id = o.manifest_id
         where o.closed_at is null and o.opened_at < $1 and o.id > $2
           and not exists (select 1 from tag t where t.repository_id = o.repository_id and t.manifest_id = o.manifest_id)
           and not exists (select 1 from tag_event e
             where e.repository_id = o.repository_id and e.previous_id = o.manifest_id and e.at >= $1)
           and not exists (select 1 from manifest_child c join occurrence p on p.manifest_id = c.parent_id
             and p.repository_id = o.repository_id and p.closed_at is null where c.child_id = o.manifest_id)
           and not exists (select 1 from occurrence p
             where p.manifest_id = m.subject_id and p.repository_id = o.repository_id and p.closed_at is null)
         order by o.id limit $3";

    UPLOAD_INSERT:
        "insert into upload (id, repository_id, object_key, state, received, hash_state, writer, writer_until, created_at,
           created_by, used_at)
         values ($1, $2, $3, 0, 0, $4, null, 0, $5, $6, $5)";
    UPLOAD_GET: concat!(
        "select u.id, u.repository_id, u.object_key, u.received, u.created_by from upload u
           join repository r on r.id = u.repository_id
         where u.id = $2 and u.state = 0 and r.name = $3 and ", readable!("r.id"));
    /// Whoever writes an upload holds it; a writer that died holds it until its time is up.
    UPLOAD_CLAIM:
        "update upload set writer = $2, writer_until = $3, used_at = $4
         where id = $1 and state = 0 and (writer is null or writer_until < $4)
         returning received, hash_state, parts";
    UPLOAD_RENEW: "update upload set writer_until = $3, used_at = $4 where id = $1 and writer = $2";
    UPLOAD_PROGRESS:
        "update upload set received = $3, hash_state = $4, parts = $5, used_at = $6
         where id = $1 and writer = $2 and state = 0";
    UPLOAD_RELEASE: "update upload set writer = null, writer_until = 0, used_at = $3 where id = $1 and writer = $2 and state = 0";
    UPLOAD_DISCARD:
        "update upload set state = 1, writer = null, used_at = $2
         where id = $1 and state = 0 and (writer is null or writer = $3 or writer_until < $2) returning object_key";
    UPLOAD_DISCARDED: "select object_key, parts from upload where id = $1 and state = 1";
    UPLOAD_DELETE: "delete from upload where id = $1";
    UPLOAD_DELETE_HELD: "delete from upload where id = $1 and writer = $2 and state = 0";
    UPLOAD_RELEASE_ALL: "update upload set writer = null, writer_until = 0 where writer is not null";
    UPLOAD_EXPIRED: "select id from upload where used_at < $1 or state = 1 order by used_at, id limit $2";

    SECRETS: "select id, key, created_at from secret order by id";
    SECRET_INSERT: "insert into secret (key, created_at) values ($1, $2)";
    SECRET_FORGET: "delete from secret where created_at < $1";

    NODES_FIND: "select id, key from node where kind = $1 and key in ({list})";
    NODES_INSERT: "insert into node (kind, key, sha256_head) values {rows} on conflict (kind, key) do nothing returning id, key";

    MANIFEST_INSERT:
        "insert into manifest (id, digest, shape, artifact_type, subject_id, size, payload, first_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing";
    NODE_IS_MANIFEST: "update node set is_manifest = true where id = $1";
    /// The hot read: name, permission, tag, lifetime and bytes in one statement.
    MANIFEST_BY_TAG: concat!(
        "select m.id, m.digest, o.media_type, m.payload from repository r
           join tag t on t.repository_id = r.id
           join manifest m on m.id = t.manifest_id
           join occurrence o on o.repository_id = r.id and o.manifest_id = m.id and o.closed_at is null
         where r.name = $2 and t.name = $3 and ", readable!("r.id"));
    MANIFEST_BY_DIGEST: concat!(
        "select m.id, m.digest, o.media_type, m.payload from repository r
           join manifest m on m.digest = $3
           join occurrence o on o.repository_id = r.id and o.manifest_id = m.id and o.closed_at is null
         where r.name = $2 and ", readable!("r.id"));
    /// Also what was deleted: evidence is asked for by digest.
    MANIFEST_EVER: concat!(
        "select m.id, m.digest, o.media_type, m.payload from repository r
           join manifest m on m.digest = $3
           join occurrence o on o.repository_id = r.id and o.manifest_id = m.id
         where r.name = $2 and ", readable!("r.id"), " order by o.id desc limit 1");
    /// What tags of a repository name.
    MANIFESTS_BY_TAGS:
        "select t.name, o.manifest_id from repository r join tag t on t.repository_id = r.id
           join occurrence o on o.repository_id = r.id and o.manifest_id = t.manifest_id and o.closed_at is null
         where r.name = $1 and t.name in ({list})";
    /// Which of these manifests are, or were, in a repository.
    MANIFESTS_EVER:
        "select distinct m.digest from repository r join manifest m on m.digest in ({list})
           join occurrence o on o.repository_id = r.id and o.manifest_id = m.id
         where r.name = $1";
    /// What a tag named at `$4`.
    MANIFEST_BY_TAG_AT: concat!(
        "select m.id, m.digest, o.media_type, m.payload from repository r
           join tag_event e on e.repository_id = r.id and e.name = $3 and e.seq = (
             select x.seq from tag_event x where x.repository_id = r.id and x.name = $3 and x.at <= $4
             order by x.at desc, x.seq desc limit 1)
           join manifest m on m.id = e.manifest_id
           join occurrence o on o.repository_id = r.id and o.manifest_id = m.id
         where r.name = $2 and ", readable!("r.id"), " order by o.id desc limit 1");
    MANIFEST_CHILDREN: concat!(
        "select c.child_id from manifest_child c join manifest m on m.id = c.child_id
         where c.parent_id = $3 and exists (
           select 1 from occurrence o where o.manifest_id = m.id and o.opened_at <= $2 and ", readable!("o.repository_id"), ")
         order by c.position");
    MANIFEST_PRESENT:
        "select m.digest from manifest m
           join occurrence o on o.manifest_id = m.id and o.repository_id = $1 and o.closed_at is null
         where m.digest in ({list}) order by m.digest";
    MANIFEST_BLOBS_INSERT:
        "insert into manifest_blob (manifest_id, position, digest, size, media_type, path, name_key, layer_id) values {rows}
         on conflict do nothing";
    MANIFEST_CHILDREN_INSERT:
        "insert into manifest_child (parent_id, position, child_id, media_type) values {rows} on conflict do nothing";
    /// One page of what refers to a subject, without the manifests' bytes.
    REFERRERS: concat!(
        "select o.id, m.size from repository r
           join node n on n.kind = 0 and n.key = $3
           join manifest m on m.subject_id = n.id
           join occurrence o on o.manifest_id = m.id and o.repository_id = r.id and o.closed_at is null
         where r.name = $2 and o.id > $4 and (m.artifact_type = $5 or $5 is null) and ", readable!("r.id"),
        " order by o.id limit $6");
    REFERRERS_READ: concat!(
        "select o.id, m.digest, o.media_type, m.size, m.artifact_type, m.payload from occurrence o
           join manifest m on m.id = o.manifest_id
         where ", readable!("o.repository_id"), " and o.id in ({list}) order by o.id");

    /// Finds the open stay and holds it: one that is being closed is waited for, and then not found.
    OCCURRENCE_HOLD:
        "update occurrence set closed_at = null where repository_id = $1 and manifest_id = $2 and closed_at is null
         returning id";
    OCCURRENCE_LAST_CLOSED:
        "select coalesce(max(closed_at), 0) from occurrence where repository_id = $1 and manifest_id = $2";
    OCCURRENCE_OPEN:
        "insert into occurrence (repository_id, manifest_id, media_type, opened_at, opened_by) values ($1, $2, $3, $4, $5)
         on conflict do nothing returning id";
    OCCURRENCE_CLOSE:
        "update occurrence set closed_at = case when $3 > opened_at then $3 else opened_at + 1 end, closed_by = $4
         where repository_id = $1 and manifest_id = $2 and closed_at is null returning id";
    OCCURRENCES: concat!(
        "select o.manifest_id, o.id, o.repository_id, r.name, o.opened_at, o.opened_by, o.closed_at from occurrence o
           join repository r on r.id = o.repository_id
         where o.opened_at <= $2 and ", readable!("o.repository_id"), " and o.manifest_id in ({list})
         order by o.manifest_id, o.id");

    TAG_LOCK:
        "insert into tag (repository_id, name, manifest_id, last_at) values ($1, $2, null, 0)
         on conflict (repository_id, name) do update set last_at = tag.last_at
         returning manifest_id, last_at";
    TAG_SET: "update tag set manifest_id = $3, last_at = $4 where repository_id = $1 and name = $2";
    TAG_EVENT_INSERT:
        "insert into tag_event (repository_id, name, at, kind, manifest_id, previous_id, actor, reason, act, reverts)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    /// From `$5` until `$4`, newest first; about the manifest `$6`, if it is given.
    TAG_HISTORY: concat!(
        tag_events!(), " and e.at <= $4 and e.at >= $5 and (coalesce(m.digest, p.digest) = $6 or $6 is null)
         order by e.at desc, e.seq desc limit $7");
    /// Promotions that were refused: records, and no events, for the tag stayed.
    TAG_REFUSALS: concat!(
        "select a.id, a.at, a.digest, a.actor, a.detail from audit a
         where a.action = 'tag.promote.refused' and a.repository_id = ", repository_readable!(), " and a.tag = $3
           and a.at <= $4 and (a.at, a.id) < ($5, $6) order by a.at desc, a.id desc limit $7");
    /// The event by which the tag named what it named at `$4`, and what that is called.
    TAG_CHANGE: concat!(
        tag_events!("k.name, k.version, ", "left join kit k on k.manifest_id = e.manifest_id"),
        " and e.at <= $4 and ", changes!("e"), " order by e.at desc limit 1");
    /// Every event of a tag, as far as it matters for what to go back to.
    TAG_PAST: concat!(
        "select e.seq, e.at, e.manifest_id, e.previous_id, e.act, e.reverts from tag_event e
         where e.repository_id = ", repository_readable!(), " and e.name = $3 order by e.seq");
    /// What tags named at `$2`: those after tag `$4` of repository `$3`, in repository `$5` if it is given.
    TAGS_AT: concat!(
        "select r.name, t.name, m.digest, k.name, k.version, e.at, e.actor, e.act, e.reason
         from repository r join tag t on t.repository_id = r.id
           join tag_event e on e.seq = (
             select x.seq from tag_event x
             where x.repository_id = t.repository_id and x.name = t.name and x.at <= $2 and ", changes!("x"),
        "    order by x.at desc limit 1)
           join manifest m on m.id = e.manifest_id left join kit k on k.manifest_id = m.id
         where r.name >= $3 and (r.name > $3 or t.name > $4) and ($5 = '' or r.name = $5) and ", readable!("r.id"),
        " and t.name in ({list}) order by r.name, t.name limit $6");
    MANIFEST_DIGEST: "select digest from manifest where id = $1";
    /// What a manifest in repository `$1` is made of and the repository lacks.
    MANIFEST_LACKS_BLOBS:
        "select b.digest, b.media_type from manifest_blob b
         where b.manifest_id = $2 and not exists (
           select 1 from blob x join blob_link l on l.blob_id = x.id and l.repository_id = $1
           where x.digest = b.digest and x.state = 0)
         order by b.position";
    /// What an index lists that is, or was, in repository `$1`, and whether it still is.
    MANIFEST_CHILDREN_HERE:
        "select m.id, m.digest, exists (
             select 1 from occurrence o where o.repository_id = $1 and o.manifest_id = m.id and o.closed_at is null)
         from manifest_child c join manifest m on m.id = c.child_id
         where c.parent_id = $2 and exists (select 1 from occurrence o where o.repository_id = $1 and o.manifest_id = m.id)
         order by c.position";
    /// The best evidence of what each of the manifests was made from or with.
    GRADES_OF: concat!(
        "select e.source_id, max(e.grade) from edge e
         where e.kind <> 0 and e.retracted_at is null and ", readable!("e.repository_id"), " and e.source_id in ({list})
         group by e.source_id order by e.source_id");
    /// Postgres walks the index only where it knows that there is one repository; a join could be several, to be sorted.
    /// The names come as one text, for ten thousand rows cost more than finding what is in them.
    TAG_LIST: concat!(
        "select string_agg(x.name, ' ' order by x.name) from (
           select t.name from tag t
           where t.repository_id = (select r.id from repository r where r.name = $2 and ", readable!("r.id"), ")
             and t.name > $3 and t.manifest_id is not null
           order by t.name limit $4) x");
    TAGS_OF_MANIFEST: "select name from tag where repository_id = $1 and manifest_id = $2 order by name";
    /// Every tag that ever named one of the manifests until `$2`, and whether it still did then.
    TAG_EVENTS_OF: concat!(
        "select e.manifest_id, e.repository_id, e.name,
           max(case when exists (
             select 1 from tag_event x
             where x.repository_id = e.repository_id and x.name = e.name and x.at <= $2 and x.at > e.at) then 0 else 1 end)
         from tag_event e
         where e.kind = 0 and e.at <= $2 and ", readable!("e.repository_id"), " and e.manifest_id in ({list})
         group by e.manifest_id, e.repository_id, e.name order by e.manifest_id, e.repository_id, e.name");

    LAYER_FIND: "select id from layer where digest = $1";
    LAYER_INSERT: "insert into layer (digest, size, state, reason) values ($1, $2, $3, $4) on conflict (digest) do nothing returning id";
    LAYER_BY_DIGEST: "select id, digest, size, state, scanner from layer where digest = $1";
    LAYER_BY_ID: "select id, digest, size, state, scanner from layer where id = $1";
    LAYER_IDENTITIES:
        "select y.id, y.digest, y.state, s.tree, s.contents from layer y left join scan s on s.id = y.scan_id
         where y.id in ({list}) order by y.id";
    LAYER_SCANNED: "update layer set state = $2, reason = $3, scan_id = $4, scanner = $5 where id = $1";
    LAYER_STATE: "update layer set state = $2, reason = $3 where id = $1";
    /// Lets the end of a layer's scan wait for a push, or the push for it: whichever comes second sees the other.
    LAYER_HOLD: "update layer set state = 0 where id = $1 and state = 0";
    LAYER_TALLY: "update layer_tally set layers = layers + $2 where state = $1";
    SCAN_BEGIN:
        "insert into scan (layer_id, scanner, state, form, files, bytes, skipped, entry_limit, byte_limit, depth_limit, started_at)
         values ($1, $2, 0, '', 0, 0, 0, $3, $4, $5, $6) returning id";
    SCAN_FINISH:
        "update scan set state = $2, reason = $3, form = $4, diff_id = $5, tree = $6, contents = $7, files = $8, bytes = $9,
           skipped = $10, inner_files = $11, inner_bytes = $12, finished_at = $13
         where id = $1";
    /// A scan of the layer that was cut off, or whose place another has taken.
    SCAN_UNFINISHED:
        "select min(s.id) from scan s join layer y on y.id = s.layer_id
         where s.layer_id = $1 and (s.finished_at is null or s.id <> y.scan_id)";
    SCAN_SUPERSEDED:
        "select s.id from scan s join layer y on y.id = s.layer_id
         where s.id = $1 and s.finished_at is not null and s.id <> y.scan_id";
    SCAN_LAST_FILE: "select coalesce(max(position), -1) from layer_file where scan_id = $1";
    SCAN_FORGET_FILES: "delete from layer_file where scan_id = $1 and position >= $2";
    SCAN_FORGET_PATHS: "delete from layer_path where scan_id = $1 and first >= $2";
    SCAN_FORGET_METADATA: "delete from file_metadata where scan_id = $1 and position >= $2";
    SCAN_FORGET_TENSORS: "delete from tensor where scan_id = $1 and file >= $2";
    SCAN_FORGET_MD5S: "delete from file_md5 where scan_id = $1 and position >= $2";
    SCAN_FORGET_CONTAINERS: "delete from file_container where scan_id = $1 and position >= $2";
    SCAN_FORGET_ADAPTERS: "delete from adapter where scan_id = $1 and position >= $2";
    SCAN_FORGET: "delete from scan where id = $1";

    LAYER_FILES_INSERT: "insert into layer_file (scan_id, sha256_head, position, name_key, sha256_tail) values {rows}";
    LAYER_PATH_INSERT: "insert into layer_path (scan_id, first, payload) values ($1, $2, $3)";
    FILE_CONTAINERS_INSERT: "insert into file_container (scan_id, position) values {rows}";
    FILE_METADATA_INSERT: "insert into file_metadata (scan_id, position, format, document) values ($1, $2, $3, $4)";
    TENSORS_INSERT: "insert into tensor (scan_id, file, position, sha256_head, sha256_tail, size) values {rows}";
    /// The weights of manifests: layers of their models and the parts of these.
    WEIGHTS_OF_MANIFESTS:
        "select distinct b.manifest_id, b.layer_id from component p join component_layer c on c.component_id = p.id
           join manifest_blob b on b.manifest_id = c.manifest_id and b.position = c.layer_position
         where p.role in ('model', 'part') and b.layer_id is not null and p.manifest_id in ({list})
         order by b.manifest_id, b.layer_id";
    /// The models that have one of the layers as weights.
    WEIGHT_USERS: concat!(
        "select distinct b.manifest_id, b.layer_id from manifest_blob b
           join component_layer c on c.manifest_id = b.manifest_id and c.layer_position = b.position
           join component p on p.id = c.component_id and p.role in ('model', 'part')
           join kit k on k.manifest_id = b.manifest_id and k.is_model
         where b.layer_id in ({list}) and ", held_by_readable!(), " order by b.manifest_id, b.layer_id");
    /// The files of layers, of which some may be weights.
    FILES_OF_LAYERS_SOME:
        "select y.id, f.scan_id, f.position, f.sha256_head, f.sha256_tail from layer y join layer_file f on f.scan_id = y.scan_id
         where y.id in ({list}) order by y.id, f.position limit 2000";
    TENSORS_OF_LAYERS:
        "select y.id, t.sha256_head, t.sha256_tail, t.size from layer y join tensor t on t.scan_id = y.scan_id
         where y.id in ({list})";
    /// In which layers tensors are; those that very many have say nothing.
    TENSORS_FIND:
        "select y.id, f.sha256_head, f.sha256_tail from (
           select scan_id, sha256_head, sha256_tail, count(*) over (partition by sha256_head, sha256_tail) as places
           from tensor where sha256_head in ({list})) f
           join layer y on y.scan_id = f.scan_id
         where f.places <= 1000";
    FILE_MD5S_INSERT: "insert into file_md5 (scan_id, position, md5_head, md5_tail) values {rows}";
    /// The distinct files of an MD5: there may be several, for whoever wants to can make them.
    FILES_OF_MD5:
        "select distinct f.sha256_head, f.sha256_tail from file_md5 m join layer y on y.scan_id = m.scan_id
           join layer_file f on f.scan_id = m.scan_id and f.position = m.position
         where m.md5_head = $1 and m.md5_tail = $2 order by f.sha256_head, f.sha256_tail";
    /// The MD5 of a file, if one of its newest places tells: scans before MD5s were wanted do not.
    MD5_OF_FILE: concat!(
        "select m.md5_head, m.md5_tail from (
           select f.scan_id, f.position from layer_file f where ", file_places!("$1", "$2"), "
           order by f.scan_id desc, f.position limit 100) f
           join file_md5 m on m.scan_id = f.scan_id and m.position = f.position
         where exists (select 1 from file_md5) order by m.scan_id desc, m.position limit 1");
    MD5S_OF_FILES:
        "select distinct f.sha256_head, f.sha256_tail, m.md5_head, m.md5_tail from layer_file f
           join file_md5 m on m.scan_id = f.scan_id and m.position = f.position
         where f.sha256_head in ({list}) order by 1, 2, 3, 4";
    PLACES_OF_MD5:
        "select y.id, m.scan_id, m.position, f.sha256_head, f.sha256_tail from file_md5 m join layer y on y.scan_id = m.scan_id
           join layer_file f on f.scan_id = m.scan_id and f.position = m.position
         where m.md5_head = $1 and m.md5_tail = $2 and (m.scan_id > $3 or (m.scan_id = $3 and m.position > $4))
         order by m.scan_id, m.position limit $5";
    ADAPTER_INSERT: "insert into adapter (scan_id, position, base, declared) values ($1, $2, $3, $4)";
    /// The adapters among manifests, by their configurations.
    ADAPTERS_AMONG:
        "select distinct b.manifest_id, a.base, a.declared from manifest_blob b join layer y on y.id = b.layer_id
           join adapter a on a.scan_id = y.scan_id
         where b.manifest_id in ({list})";
    ADAPTERS_OF_BASES: concat!(
        "select distinct b.manifest_id, a.base, a.declared from adapter a join layer y on y.scan_id = a.scan_id
           join manifest_blob b on b.layer_id = y.id join kit k on k.manifest_id = b.manifest_id and k.is_model
         where a.base in ({list}) and ", held_by_readable!(), " order by b.manifest_id limit $3");
    KIT_NAMES:
        "select w.manifest_id, w.word from kit_word w where w.field = $1 and w.manifest_id in ({list})
         order by w.manifest_id, w.position";
    MODELS_CALLED: concat!(
        "select distinct b.manifest_id from kit_word b join kit k on k.manifest_id = b.manifest_id and k.is_model
         where b.word = $3 and b.field = $4 and ", held_by_readable!(), " order by b.manifest_id limit $5");
    REPOSITORIES_WITH_WORD: concat!(
        "select distinct r.id, r.name from repository_word w join repository r on r.id = w.repository_id
         where w.word = $2 and w.position >= 0 and ", readable!("r.id"), " order by r.id limit $3");
    MODELS_IN:
        "select o.manifest_id from occurrence o join kit k on k.manifest_id = o.manifest_id and k.is_model
         where o.repository_id = $1 and o.opened_at <= $2 order by o.opened_at desc, o.id desc limit $3";
    TENSOR_LISTS:
        "select m.document from layer y join file_metadata m on m.scan_id = y.scan_id
         where y.id in ({list}) and m.format = 'safetensors' order by y.id, m.position";
    LAYER_PATHS:
        "select scan_id, first, payload from layer_path where first >= $1 and first <= $2 and scan_id in ({list})
         order by scan_id, first";
    FILES_OF_SCAN:
        "select f.position, f.sha256_head, f.sha256_tail,
           exists (select 1 from file_container c where c.scan_id = f.scan_id and c.position = f.position)
         from layer_file f where f.scan_id = $1 and f.position >= $2 order by f.position limit $3";
    FILES_OF_LAYERS:
        "select distinct f.sha256_head, f.sha256_tail from layer y join layer_file f on f.scan_id = y.scan_id where y.id in ({list})";
    CONTAINERS_OF_LAYERS:
        "select distinct f.sha256_head, f.sha256_tail from layer y join file_container c on c.scan_id = y.scan_id
           join layer_file f on f.scan_id = c.scan_id and f.position = c.position
         where y.id in ({list})";
    COUNT_LEAVES_OF_LAYER:
        "select (select count(*) from (
             select distinct f.sha256_head, f.sha256_tail from layer y join layer_file f on f.scan_id = y.scan_id
             where y.id = $1) d)
           - (select count(*) from (
             select distinct f.sha256_head, f.sha256_tail from layer y join file_container c on c.scan_id = y.scan_id
               join layer_file f on f.scan_id = c.scan_id and f.position = c.position
             where y.id = $1) d)";
    /// A layer may have one file very often: its first place in each layer, and how many there are.
    FILES_FIND:
        "select y.id, f.scan_id, f.first, f.sha256_head, f.sha256_tail, f.copies from (
           select scan_id, sha256_head, sha256_tail, min(position) as first, count(*) as copies from layer_file
           where sha256_head in ({list}) group by scan_id, sha256_head, sha256_tail) f
           join layer y on y.scan_id = f.scan_id";
    /// Of a layer that is one file, manifests say the name.
    FILES_NAMED: concat!(
        "select layer_id, scan_id, position, sha256_head, sha256_tail from (
           select y.id as layer_id, f.scan_id, f.position, f.sha256_head, f.sha256_tail
           from layer_file f join layer y on y.scan_id = f.scan_id where f.name_key = $2
           union
           select y.id, f.scan_id, f.position, f.sha256_head, f.sha256_tail
           from manifest_blob b join layer y on y.id = b.layer_id join layer_file f on f.scan_id = y.scan_id
           where b.name_key = $2 and f.name_key is null and exists (
             select 1 from occurrence o where o.manifest_id = b.manifest_id and ", readable!("o.repository_id"), ")) named
         where scan_id > $3 or (scan_id = $3 and position > $4)
         order by scan_id, position limit $5");
    FILES_OF_CONTENT: concat!(
        "select y.id, f.scan_id, f.position, f.sha256_head, f.sha256_tail from layer_file f join layer y on y.scan_id = f.scan_id
         where ", file_places!("$1", "$2"), " and f.scan_id >= $3 and (f.scan_id > $3 or f.position > $4)
         order by f.scan_id, f.position limit $5");
    FILES_COUNT: "select sha256_head, count(*) from layer_file where sha256_head in ({list}) group by sha256_head";
    FILES_SPREAD: concat!(
        "select distinct f.sha256_head, f.sha256_tail, o.repository_id from layer_file f join layer y on y.scan_id = f.scan_id
           join manifest_blob b on b.layer_id = y.id join occurrence o on o.manifest_id = b.manifest_id and o.opened_at <= $2
         where ", readable!("o.repository_id"), " and f.sha256_head in ({list})");
    FILE_SPREAD: concat!(
        "select distinct o.repository_id
         from (select scan_id from layer_file where sha256_head = $3 and sha256_tail = $4 limit $5) f
           join layer y on y.scan_id = f.scan_id
           join manifest_blob b on b.layer_id = y.id join occurrence o on o.manifest_id = b.manifest_id and o.opened_at <= $2
         where ", readable!("o.repository_id"));
    FILE_METADATA_OF_LAYER:
        "select m.position, m.format, m.document from layer y join file_metadata m on m.scan_id = y.scan_id
         where y.id = $1 order by m.position";
    LAYERS_OF_TREE: "select y.id from scan s join layer y on y.scan_id = s.id where s.tree = $1 order by y.id";
    LAYERS_OF_CONTENTS: "select y.id from scan s join layer y on y.scan_id = s.id where s.contents = $1 order by y.id";
    LAYERS_OF_MANIFESTS:
        "select b.manifest_id, p.position, b.layer_id, b.path from manifest_blob b
           left join component_layer c on c.manifest_id = b.manifest_id and c.layer_position = b.position
           left join component p on p.id = c.component_id
         where b.layer_id is not null and b.manifest_id in ({list})
         order by b.manifest_id, p.position, c.position, b.position";
    /// What has the layers, and in which component.
    USERS_OF_LAYERS: concat!(
        "select b.layer_id, b.manifest_id, p.position from manifest_blob b
           left join component_layer c on c.manifest_id = b.manifest_id and c.layer_position = b.position
           left join component p on p.id = c.component_id
         where b.layer_id in ({list}) and ", held_by_readable!());
    LAYERS_PENDING: concat!(
        "select count(*) from layer y where y.state = 0 and y.state <> 1 and ($1 = 0 or exists (
           select 1 from manifest_blob b join occurrence o on o.manifest_id = b.manifest_id
           where b.layer_id = y.id and ", readable!("o.repository_id"), "))");

    JOB_INSERT:
        "insert into job (kind, subject, attempts, run_at, lease_until, created_at, priority) values ($1, $2, 0, $3, 0, $3, $4)
         on conflict (kind, subject) do update set priority = excluded.priority where job.priority > excluded.priority";
    /// Two workers never look at the same job.
    JOB_CLAIM_POSTGRES:
        concat!("update job set owner = $2, lease_until = $3, attempts = attempts + 1, run_at = $4 + ", after_a_crash!(), "
         where id = (select id from job where kind = $1 and priority = $5 and run_at <= $4 and lease_until <= $4
                     order by run_at, id limit 1 for update skip locked)
         returning id, subject, attempts");
    /// SQLite has no row locks and needs none.
    JOB_CLAIM_SQLITE:
        concat!("update job set owner = $2, lease_until = $3, attempts = attempts + 1, run_at = $4 + ", after_a_crash!(), "
         where id = (select id from job where kind = $1 and priority = $5 and run_at <= $4 and lease_until <= $4
                     order by run_at, id limit 1)
         returning id, subject, attempts");
    JOB_RENEW: "update job set lease_until = $3 where id = $1 and owner = $2";
    JOB_DONE: "delete from job where id = $1 and owner = $2";
    JOB_RETRY: "update job set owner = null, lease_until = 0, run_at = $3, reason = $4 where id = $1 and owner = $2";
    JOB_RELEASE_ALL: "update job set owner = null, lease_until = 0 where owner is not null";

    KIT_INSERT:
        "insert into kit (manifest_id, kind, is_model, name, version, document, problem, incomplete)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (manifest_id) do nothing";
    COMPONENT_INSERT:
        "insert into component (manifest_id, position, role, name, path, remote) values ($1, $2, $3, $4, $5, $6)
         on conflict (manifest_id, position) do nothing returning id";
    COMPONENT_LAYERS_INSERT:
        "insert into component_layer (component_id, position, manifest_id, layer_position) values {rows} on conflict do nothing";
    KIT_GET: "select kind, is_model, name, version, document, problem from kit where manifest_id = $1";
    KIT_LAYERS:
        "select b.position, b.digest, b.size, b.media_type, b.path, y.id as layer_id, y.state, y.reason, s.form, s.diff_id, s.tree, s.contents, s.files,
           s.bytes, s.skipped
         from manifest_blob b left join layer y on y.id = b.layer_id left join scan s on s.id = y.scan_id
         where b.manifest_id = $1 and b.position >= 0 order by b.position";
    KIT_COMPONENT_LAYERS:
        "select k.manifest_id, p.position, p.role, p.name, p.path, p.remote, b.layer_id, b.path as layer_path, b.digest, y.state,
           s.tree, s.contents
         from (select distinct manifest_id from occurrence where repository_id = $1) k
           join component p on p.manifest_id = k.manifest_id
           left join component_layer c on c.component_id = p.id
           left join manifest_blob b on b.manifest_id = c.manifest_id and b.position = c.layer_position
           left join layer y on y.id = b.layer_id left join scan s on s.id = y.scan_id
         order by k.manifest_id, p.position, c.position";
    KIT_DOCUMENTS:
        "select o.manifest_id, k.document from occurrence o join kit k on k.manifest_id = o.manifest_id
         where o.repository_id = $1 and o.opened_at <= $2 order by o.opened_at, o.id";
    /// The kits of a repository, newest stay first.
    KIT_LIST: concat!(
        "select m.id, m.digest, k.kind, k.is_model, k.name, k.version, o.id, o.opened_at, o.opened_by, k.document
         from repository r join occurrence o on o.repository_id = r.id and o.closed_at is null
           join manifest m on m.id = o.manifest_id join kit k on k.manifest_id = m.id
         where r.name = $2 and o.id < $3 and ", readable!("r.id"), " order by o.id desc limit $4");
    /// Those that were in it at `$5`, also if they are not any more.
    KIT_LIST_AT: concat!(
        "select m.id, m.digest, k.kind, k.is_model, k.name, k.version, o.id, o.opened_at, o.opened_by, k.document
         from repository r join occurrence o on o.repository_id = r.id and o.opened_at <= $5
             and (o.closed_at is null or o.closed_at > $5)
           join manifest m on m.id = o.manifest_id join kit k on k.manifest_id = m.id
         where r.name = $2 and o.id < $3 and ", readable!("r.id"), " order by o.id desc limit $4");
    KIT_ROWS:
        "select m.id, m.digest, k.kind, k.is_model, k.name, k.version from manifest m join kit k on k.manifest_id = m.id
         where m.id in ({list}) order by m.id";
    /// Of those that were in a readable repository at `$2`.
    KIT_ROWS_READABLE: concat!(
        "select m.id, m.digest, k.kind, k.is_model, k.name, k.version from manifest m join kit k on k.manifest_id = m.id
         where m.id in ({list}) and ", was_readable!(), " order by m.id");
    KITS_NOT_MODELS: "select k.manifest_id from kit k where not k.is_model and k.manifest_id in ({list}) order by k.manifest_id";

    /// Only the first who says so writes the words of a kit that had none.
    SEARCH_CLAIM: "update kit set searchable = $2 where manifest_id = $1 and searchable = 0";
    SEARCH_FORGET_WORDS: "delete from kit_word where manifest_id = $1";
    SEARCH_FORGET_PARAMETERS: "delete from kit_parameter where manifest_id = $1";
    SEARCH_WORDS_INSERT: "insert into kit_word (manifest_id, position, field, word) values {rows}";
    SEARCH_PARAMETERS_INSERT: "insert into kit_parameter (manifest_id, position, pointer, value) values {rows}";
    SEARCH_UNREAD: "select manifest_id, document from kit where searchable = 0 order by manifest_id limit $1";
    SEARCH_UNREAD_PATHS: "select path from manifest_blob where manifest_id = $1 and path is not null order by position";
    SEARCH_REPOSITORY_CLAIM: "update repository set searchable = 1 where id = $1 and searchable = 0";
    SEARCH_REPOSITORY_WORDS_INSERT: "insert into repository_word (repository_id, position, word) values {rows}";
    SEARCH_REPOSITORIES_UNREAD: "select id, name from repository where searchable = 0 order by id limit $1";

    SEARCH_WORD: concat!(word_hits!(), " order by w.field, w.manifest_id, w.position limit $6");
    SEARCH_WORD_AMONG: concat!(word_hits!(), " and w.manifest_id in ({list}) order by w.field, w.manifest_id, w.position");
    SEARCH_REPOSITORY_WORD: concat!(repository_word_hits!(), " order by 1, 2, 3 limit $5");
    SEARCH_REPOSITORY_WORD_AMONG: concat!(repository_word_hits!(), " and o.manifest_id in ({list}) order by 1, 2, 3");
    SEARCH_PARAMETER: concat!(parameter_hits!(), " order by p.manifest_id limit $5");
    SEARCH_PARAMETER_AMONG: concat!(parameter_hits!(), " and p.manifest_id in ({list}) order by p.manifest_id");
    SEARCH_PARAMETER_VALUE: concat!(parameter_value_hits!(), " order by p.manifest_id limit $5");
    SEARCH_PARAMETER_VALUE_AMONG: concat!(parameter_value_hits!(), " and p.manifest_id in ({list}) order by p.manifest_id");
    /// Manifests whose own digest, or that of a blob which they name, lies between `$2` and `$3`; of so many bytes, unless
    /// `$4` is 0.
    SEARCH_DIGEST: concat!(
        "select x.manifest_id from (
           select m.id as manifest_id from manifest m
           where m.digest >= $2 and m.digest <= $3 and ($4 = 0 or length(m.digest) = $4)
           union
           select b.manifest_id from manifest_blob b
           where b.digest >= $2 and b.digest <= $3 and ($4 = 0 or length(b.digest) = $4)) x
         where ", manifest_readable!("x.manifest_id"), " order by x.manifest_id limit $5");
    SEARCH_FILE_DIGEST: concat!(
        "select distinct b.manifest_id from layer_file f join layer y on y.scan_id = f.scan_id
           join manifest_blob b on b.layer_id = y.id
         where f.sha256_head >= $2 and f.sha256_head <= $3 and f.sha256_tail >= $4 and f.sha256_tail <= $5 and ",
        manifest_readable!("b.manifest_id"), " order by b.manifest_id limit $6");
    SEARCH_LAYERS: concat!(
        "select distinct b.manifest_id from manifest_blob b where b.layer_id in ({list}) and ",
        manifest_readable!("b.manifest_id"), " order by b.manifest_id");
    SEARCH_MISSING: concat!(
        "select k.searchable, count(*) from kit k where k.searchable <> 1 and ", manifest_readable!("k.manifest_id"),
        " group by k.searchable order by k.searchable");

    CLAIM_INSERT:
        "insert into claim (kind, repository_id, manifest_id, position, subject_id, statement_id, run, format, predicate_type,
           problem, incomplete, actor, occurred_at, recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) returning id";
    STATEMENT_INSERT:
        "insert into statement (key, digest, media_type, payload, first_at) values ($1, $2, $3, $4, $5)
         on conflict (key) do update set key = excluded.key returning id";
    /// The same statement about the same artifact in the same repository is said once, unless it was retracted.
    CLAIM_KNOWN:
        "select id from claim where statement_id = $1 and subject_id = $2 and retracted_at is null
           and (repository_id = $3 or (repository_id is null and cast($3 as bigint) is null)) limit 1";
    /// Its row is the lock under which the events of a run meet. What ended it stays, whatever comes after.
    RUN_EVENT:
        "insert into run (id, job_namespace, job_name, state, completed_at, first_at) values ($1, $2, $3, $4, $5, $6)
         on conflict (id) do update set
           state = case when run.state in ('complete', 'abort', 'fail') then run.state else excluded.state end,
           completed_at = coalesce(run.completed_at, excluded.completed_at)
         returning completed_at";
    /// The run of a claim, held as an event of it would.
    RUN_HOLD:
        "update run set state = state where id = (select q.run from claim q where q.id = $1) and completed_at is not null
         returning id, completed_at";
    RUN_STATEMENTS:
        "select s.payload from claim q join statement s on s.id = q.statement_id
         where q.run = $1 and q.retracted_at is null order by q.id";
    RUN_STATEMENT_KNOWN: "select count(*) from claim where run = $1 and statement_id = $2";
    /// What the run is known to have made from what, as it is written, whether that stands, and what tags named for it.
    RUN_REFERENCES:
        "select q.id, f.source_id, f.declared, q.retracted_at is null, case when f.target_tag is not null then f.resolved_id end
         from claim q join reference f on f.claim_id = q.id where q.run = $1 order by f.id";
    /// Claims about a node, or by which it was made from something, the latest first, before `$3`.
    CLAIMS_ABOUT: concat!(
        "select q.id from claim q
         where (q.subject_id = $2 or exists (select 1 from reference f where f.claim_id = q.id and f.source_id = $2))
           and q.id < $3 and ", readable!("q.repository_id"), " order by q.id desc limit $4");
    /// A claim, as far as the reader may know of it.
    CLAIM_TOLD: concat!(
        "select q.id, q.kind, r.name as repository, n.key as subject, n.kind as subject_kind, q.run, q.format, q.predicate_type, q.problem,
           q.actor, q.occurred_at, q.recorded_at, q.retracted_at, q.retracted_by, q.retraction, s.digest as statement,
           s.media_type, length(s.payload) as size, v.verified, v.signer, v.reason, v.recorded_at as verified_at
         from claim q left join repository r on r.id = q.repository_id left join node n on n.id = q.subject_id
           left join statement s on s.id = q.statement_id
           left join verification v on v.claim_id = q.id and v.ended_at is null
         where q.id = $2 and ", readable!("q.repository_id"));
    CLAIM_REFERENCES:
        "select f.edge_kind, f.word, f.name, f.declared, f.state, n.kind, n.key, a.kind as source_kind, a.key as source_key
         from reference f join node a on a.id = f.source_id left join node n on n.id = f.resolved_id
         where f.claim_id = $1 order by f.id limit $2";
    CLAIM_STATEMENT: concat!(
        "select s.media_type, s.payload from claim q join statement s on s.id = q.statement_id
         where q.id = $2 and ", readable!("q.repository_id"));
    /// The files of a layer that say something in the format `$3`, by their places.
    CARDS_OF_LAYER:
        "select m.scan_id, m.position, m.document from layer y join file_metadata m on m.scan_id = y.scan_id
         where y.id = $1 and m.format = $3 order by m.position limit $2";
    LAYER_CALLED:
        "select b.path, p.path from manifest_blob b
           left join component_layer c on c.manifest_id = b.manifest_id and c.layer_position = b.position
           left join component p on p.id = c.component_id
         where b.layer_id = $1 and b.manifest_id = $2 order by b.position, p.position";
    /// The stays of the models that have a layer, after one of them.
    MODELS_WITH_LAYER:
        "select distinct o.id, o.repository_id, o.manifest_id, o.opened_by from manifest_blob b
           join kit k on k.manifest_id = b.manifest_id and k.is_model
           join occurrence o on o.manifest_id = b.manifest_id
         where b.layer_id = $1 and o.id > $2 order by o.id limit $3";
    VERIFICATION_INSERT:
        "insert into verification (claim_id, trust, verified, signer, reason, signed_at, recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7)";
    VERIFICATION_TRUST: "update verification set trust = $2 where claim_id = $1 and ended_at is null";
    VERIFICATION_END: "update verification set ended_at = $2 where claim_id = $1 and ended_at is null";
    /// Claims whose signature was looked at by what is trusted no longer, in order.
    VERIFICATIONS_STALE:
        "select v.claim_id, v.verified, v.signer, v.reason from verification v
         where v.ended_at is null and v.trust <> $1 and v.claim_id > $2 order by v.claim_id limit $3";
    CLAIM_SIGNED:
        "select q.subject_id, q.manifest_id, q.position, s.media_type, s.payload from claim q
           join statement s on s.id = q.statement_id where q.id = $1";
    CLAIM_VERIFIED: "select count(*) from verification where claim_id = $1 and verified and ended_at is null";
    /// Claims of a format that have a problem and are not verified, about what has a layer.
    CLAIMS_UNFIT:
        "select distinct q.id from manifest_blob b join claim q on q.subject_id = b.manifest_id
         where b.layer_id = $1 and q.format = $2 and q.problem is not null and q.retracted_at is null
           and not exists (select 1 from verification v where v.claim_id = q.id and v.verified and v.ended_at is null)
         order by q.id";
    CLAIM_HOLD: "update claim set problem = problem where id = $1";
    CLAIM_PROBLEM: "update claim set problem = $2 where id = $1";
    CLAIM_EDGES: standing_edges!("claim_id = $1", " order by id");
    EDGES_RETRACT: "update edge set retracted_at = $2 where claim_id = $1 and retracted_at is null";
    EDGE_RETRACT: "update edge set retracted_at = $2 where id = $1 and retracted_at is null";
    CLAIM_LAST: "select max(coalesce(e.retracted_at, e.recorded_at)) from edge e where e.claim_id = $1";
    CLAIM_RETRACT:
        "update claim set retracted_at = $2, retracted_by = $3, retraction = $4 where id = $1 and retracted_at is null";
    /// Edges of which it was not known what they are until one of their ends is.
    EDGES_UNDECIDED: concat!(
        standing_edges!("kind = 5 and target_id = $1"), " union ", standing_edges!("kind = 5 and source_id = $1", " order by 1"));
    /// What nodes are: digests or something outside, and whether their kits have a model, if it is known.
    NODES_ARE:
        "select n.id, n.kind, n.key, k.is_model from node n left join kit k on k.manifest_id = n.id where n.id in ({list})";
    NODE_OF_DIGEST: "select id from node where kind = 0 and key = $1";
    NODES_OF_DIGESTS: "select id from node where kind = 0 and key in ({list})";
    /// What layers are called by those who name them by their digests.
    NAMES_OF_LAYERS:
        "select n.id from layer y cross join node n where y.id in ({list}) and n.kind = 0 and n.key = y.digest order by n.id";
    /// The same of the layers that hold a file, and that a manifest has which was readable at `$2`.
    NAMES_WITH_FILE_SQLITE: names_with_file!("node n indexed by node_named cross join layer y cross join layer_file f");
    NAMES_WITH_FILE_POSTGRES: names_with_file!("node n cross join layer y cross join layer_file f");
    LAYERS_SHA256: "select digest from layer where id in ({list}) and length(digest) = 32 order by id";
    /// The files that somebody named and in whose layers one of these is too, perhaps inside of them. Always from what is named,
    /// for that is little, to each place of that, and there to the file: a range of one scan keeps SQLite from reading all of its
    /// files instead.
    NAMES_BESIDE_FILES: concat!(
        "select n.id, a.scan_id, a.position, f.position, f.sha256_head, f.sha256_tail
         from node n cross join layer_file a cross join layer_file f join scan s on s.id = a.scan_id join layer y on y.scan_id = a.scan_id
         where n.is_manifest = false and n.sha256_head is not null
           and a.sha256_head = n.sha256_head and a.sha256_tail = substr(n.key, 9) and s.inner_files > 0
           and f.sha256_head in ({list}) and f.scan_id between a.scan_id and a.scan_id
           and exists (select 1 from manifest_blob b where b.layer_id = y.id and ", held_by_readable!(), ")
         order by n.id, a.scan_id, a.position, f.position");
    NODE_DIGEST: "select key from node where kind = 0 and id = $1";
    NODE_EXTERNAL: "select id from node where kind = 1 and key = $1";
    /// Who signed each of the manifests, by what was trusted at `$2`: verified statements in readable repositories.
    SIGNERS_OF: concat!(
        "select distinct q.subject_id, v.signer from claim q join verification v on v.claim_id = q.id
         where q.subject_id in ({list}) and v.verified and q.recorded_at <= $2 and (q.retracted_at is null or q.retracted_at > $2)
           and v.recorded_at <= $2 and (v.ended_at is null or v.ended_at > $2) and ", readable!("q.repository_id"),
        " order by q.subject_id, v.signer");
    /// References to a repository and pushes to it are put in order by this row: without it, two that run at once would
    /// never see each other.
    ARRIVAL_LOCK: "insert into arrival (name) values ($1) on conflict (name) do update set name = excluded.name";
    REFERENCES_INSERT:
        "insert into reference (claim_id, repository_id, occurrence_id, source_id, component_position, edge_kind, word, name,
           declared, host, target_repository, target_tag, target_digest, state, assumed, late, resolved_id, resolved_at)
         values {rows} returning id";
    /// What waits for this tag, or for this digest, in this repository.
    REFERENCE_WAITING:
        "select id, claim_id, repository_id, occurrence_id, source_id, edge_kind, target_digest,
           (select q.occurred_at from claim q where q.id = claim_id)
         from reference where state = 1 and target_repository = $1
           and (target_digest = $2 or (target_digest is null and target_tag in ({list})))
           and exists (select 1 from claim q where q.id = claim_id and q.retracted_at is null)
         order by id";
    REFERENCE_RESOLVE:
        "update reference set state = 0, resolved_id = $2, resolved_at = $3, late = $4 where id = $1 and state in (1, 2)";
    REFERENCE_OUTSIDE_HOST:
        "select id, claim_id, repository_id, occurrence_id, source_id, edge_kind, target_repository, target_tag, target_digest,
           (select q.occurred_at from claim q where q.id = claim_id)
         from reference where state = 2 and host = $1 and target_repository is not null order by id";
    /// What a stay that is over waits for, nobody waits for any more.
    REFERENCE_AWAIT:
        "update reference set state = case when occurrence_id is null or exists (
           select 1 from occurrence o where o.id = occurrence_id and o.closed_at is null) then 1 else 3 end
         where id = $1 and state = 2";
    REFERENCE_GIVE_UP: "update reference set state = 3 where occurrence_id = $1 and state = 1";
    EDGES_INSERT:
        "insert into edge (kind, grade, source_id, occurrence_id, everywhere, target_id, claim_id, reference_id, repository_id,
           occurred_at, recorded_at)
         values {rows}";

    /// The scans that found the file, in order.
    SCANS_WITH_FILE: concat!(
        "select s.scan_id, y.id from (
           select distinct f.scan_id from layer_file f where ", file_places!("$1", "$2"), " and f.scan_id >= $3
           order by f.scan_id limit $4) s
           left join layer y on y.scan_id = s.scan_id
         order by s.scan_id");
    /// So many manifests of one layer after `$4`, and whether each was in a readable repository at `$2`: they stand in the
    /// index in this order, and no more of them are looked at.
    HOLDERS_OF_LAYER: concat!(
        "select b.manifest_id, case when ", held_by_readable!(), " then true else false end from (
           select x.manifest_id from manifest_blob x where x.layer_id = $3 and x.manifest_id > $4
           order by x.manifest_id limit $5) b
         order by b.manifest_id");
    /// The manifests of several layers after `$4`, which is one of the layer that the scan `$3` found.
    HOLDERS_OF_SCANS: concat!(
        "select distinct y.scan_id, b.manifest_id from layer y join manifest_blob b on b.layer_id = y.id
         where y.scan_id in ({list}) and (y.scan_id <> $3 or b.manifest_id > $4) and ", held_by_readable!(),
        " order by y.scan_id, b.manifest_id limit $5");
    /// Those of the manifests that hold the file, and the first of its scans in each; 0 where a layer is the file.
    FILE_FIRST_IN:
        "select b.manifest_id, min(case when y.digest = $3 then 0 else y.scan_id end) from manifest_blob b
           join layer y on y.id = b.layer_id
         where b.manifest_id in ({list}) and (y.digest = $3 or exists (
           select 1 from layer_file f where f.sha256_head = $1 and f.sha256_tail = $2 and f.scan_id = y.scan_id))
         group by b.manifest_id order by b.manifest_id";
    HOLDERS_OF_LAYERS: concat!(
        "select distinct b.manifest_id from manifest_blob b
         where b.layer_id in ({list}) and ", held_by_readable!(), " order by b.manifest_id");
    /// Who holds a file and where, in any order, and no more than `$4` of them. It begins at so many of the file's places, and
    /// each of them is a row at least, of nobody where another scan of the layer has taken its place: so fewer rows are all.
    FEW_WITH_FILE: concat!(
        "select b.manifest_id, b.position as layer_position, y.digest, f.scan_id, f.position as file_position, b.path as called,
           y.digest = $3 as whole
         from (select f.scan_id, f.position from layer_file f where ", file_places!("$1", "$2"), "
           order by f.scan_id limit $4) f
           left join layer y on y.scan_id = f.scan_id
           left join manifest_blob b on b.layer_id = y.id
         union all
         select b.manifest_id, b.position, y.digest, null, 0, b.path, true
         from layer y join manifest_blob b on b.layer_id = y.id
         where y.digest = $3 and not exists (
           select 1 from layer_file f where f.sha256_head = $1 and f.sha256_tail = $2 and f.scan_id = y.scan_id)
         limit $4");
    /// The components that have the layer at one position of a manifest.
    COMPONENTS_AT:
        "select c.manifest_id, p.role, p.name, p.path, p.position from component_layer c join component p on p.id = c.component_id
         where c.layer_position = $1 and c.manifest_id in ({list}) order by c.manifest_id, p.position";
    /// How a file is in a manifest: the layer, the path, and whether the layer itself is the file. Of many ways in one
    /// manifest the first hundred, and how many there are. From the manifests to the file, which very many others may have.
    EVIDENCE_OF_FILE:
        "select manifest_id, digest, scan_id, file_position, called, whole, role, name, ways, component_position from (
          select found.*, count(*) over (partition by manifest_id) as ways,
            row_number() over (partition by manifest_id order by layer_position, file_position, component_position) as nth
          from (
           select b.manifest_id, b.position as layer_position, y.digest, f.scan_id, f.position as file_position,
             coalesce(b.path, p.path) as called, y.digest = $3 as whole, p.role, p.name, p.position as component_position
           from manifest_blob b cross join layer y cross join layer_file f
             left join component_layer c on c.manifest_id = b.manifest_id and c.layer_position = b.position
             left join component p on p.id = c.component_id
           where y.id = b.layer_id and f.scan_id = y.scan_id
             and f.sha256_head = $1 and f.sha256_tail = $2 and b.manifest_id in ({list})
           union all
           select b.manifest_id, b.position, y.digest, null, 0, coalesce(b.path, p.path), true, p.role, p.name, p.position
           from layer y join manifest_blob b on b.layer_id = y.id
             left join component_layer c on c.manifest_id = b.manifest_id and c.layer_position = b.position
             left join component p on p.id = c.component_id
           where y.digest = $3 and b.manifest_id in ({list})
             and not exists (select 1 from layer_file f
               where f.scan_id = y.scan_id and f.sha256_head = $1 and f.sha256_tail = $2)) found) numbered
         where nth <= 100 order by manifest_id, nth";
    /// How a layer is in a manifest; also of layers that are not scanned.
    EVIDENCE_OF_LAYER:
        "select manifest_id, id, digest, path, role, name, ways, component_position from (
          select b.manifest_id, y.id, y.digest, coalesce(b.path, p.path) as path, p.role, p.name,
            p.position as component_position, count(*) over (partition by b.manifest_id) as ways,
            row_number() over (partition by b.manifest_id order by b.position, p.position) as nth
         from layer y join manifest_blob b on b.layer_id = y.id
           left join component_layer c on c.manifest_id = b.manifest_id and c.layer_position = b.position
           left join component p on p.id = c.component_id
         where y.id = $1 and b.manifest_id in ({list})) found
         where nth <= 100 order by manifest_id, nth";
    /// The layers that are the asked-for one on some rung, with the rungs' keys to compare.
    LAYERS_ALIKE:
        "select y.id, y.digest, s.diff_id, s.tree, s.contents from layer y left join scan s on s.id = y.scan_id
         where y.id = $1
         union
         select y.id, y.digest, s.diff_id, s.tree, s.contents from scan a join scan s on s.diff_id = a.diff_id
           join layer y on y.scan_id = s.id where a.id = $2
         union
         select y.id, y.digest, s.diff_id, s.tree, s.contents from scan a join scan s on s.tree = a.tree
           join layer y on y.scan_id = s.id where a.id = $2
         union
         select y.id, y.digest, s.diff_id, s.tree, s.contents from scan a join scan s on s.contents = a.contents
           join layer y on y.scan_id = s.id where a.id = $2
         order by 1";
    LAYER_SCAN: "select scan_id from layer where id = $1";
    COMPONENT_LAYERS_OF:
        "select p.position, p.role, p.name, b.layer_id from component p
           join component_layer c on c.component_id = p.id
           join manifest_blob b on b.manifest_id = c.manifest_id and b.position = c.layer_position
         where p.manifest_id = $1 and b.layer_id is not null order by p.position, c.position";
    MANIFEST_LAYERS: "select layer_id from manifest_blob where manifest_id = $1 and layer_id is not null order by position";
    /// What is indexed and holds nothing that identifies anything; it is never a match.
    LAYERS_EMPTY:
        "select y.id from layer y join scan s on s.id = y.scan_id
         where y.state = 1 and s.contents is null and y.id in ({list}) order by y.id";

    REACH_SQLITE: walk!(sqlite, users of "select n.id from node n where n.id in ({list})", until "$4");
    REACH_POSTGRES: walk!(postgres, users of "select n.id from node n where n.id in ({list})", until "$4");
    REACH_FILE_SQLITE: walk!(sqlite, users of file_holders!(), until "$7");
    REACH_FILE_POSTGRES: walk!(postgres, users of file_holders!(), until "$7");
    AFFECTED_BY_FILE_SQLITE: affected!(sqlite, all_file_holders!());
    AFFECTED_BY_FILE_POSTGRES: affected!(postgres, all_file_holders!());
    REACH_STEP: step!(users);
    USES_STEP: step!(uses);
    USES_SQLITE: walk!(sqlite, uses of "select n.id from node n where n.id in ({list})", until "$4");
    USES_POSTGRES: walk!(postgres, uses of "select n.id from node n where n.id in ({list})", until "$4");
    EDGES_TOLD:
        "select e.id, e.kind, e.grade, e.source_id, e.target_id, e.recorded_at, e.occurred_at, f.declared, f.late, f.assumed,
           p.role, coalesce(p.name, f.name) as component, t.digest, n.kind as node_kind, n.key as node_key, q.kind as claim, q.id as claim_id, q.actor,
           q.format, q.predicate_type,
           (select v.signer from verification v where v.claim_id = q.id and v.verified and v.recorded_at <= e.recorded_at
              and (v.ended_at is null or v.ended_at > e.recorded_at)) as signer
         from edge e join node n on n.id = e.target_id left join reference f on f.id = e.reference_id
           left join component p on p.manifest_id = f.source_id and p.position = f.component_position
           left join manifest t on t.id = e.target_id
           join claim q on q.id = e.claim_id
         where e.id in ({list}) order by e.id";
    LINEAGE_UP_SQLITE: lineage!(sqlite, ancestors links);
    LINEAGE_UP_POSTGRES: lineage!(postgres, ancestors links);
    LINEAGE_DOWN_SQLITE: lineage!(sqlite, descendants links);
    LINEAGE_DOWN_POSTGRES: lineage!(postgres, descendants links);
    LINEAGE_UP_TOLD_SQLITE: lineage!(sqlite, ancestors told);
    LINEAGE_UP_TOLD_POSTGRES: lineage!(postgres, ancestors told);
    LINEAGE_DOWN_TOLD_SQLITE: lineage!(sqlite, descendants told);
    LINEAGE_DOWN_TOLD_POSTGRES: lineage!(postgres, descendants told);
    /// Each table is asked by its own key: for a list of nodes Postgres would rather read all manifests or kits than look each up.
    LINEAGE_NODES: concat!(
        "select n.id, n.kind, n.key, (select m.first_at from manifest m where m.id = n.id and ", was_readable!(), ") as first_at
         from node n where n.id in ({list}) order by n.id");
    LINEAGE_KITS:
        "select manifest_id, kind, is_model, name, version from kit where manifest_id in ({list}) order by manifest_id";
    LINEAGE_DATASETS:
        "select p.manifest_id, p.role, p.name from component p
         where p.manifest_id in ({list}) and p.role = 'dataset'
           and exists (select 1 from component_layer l where l.component_id = p.id)
         order by p.manifest_id, p.position";
    INDEXES_OF: concat!(
        "select distinct c.child_id, o.repository_id, p.digest from manifest_child c join manifest p on p.id = c.parent_id
           join occurrence o on o.manifest_id = p.id and o.opened_at <= $2 and (o.closed_at is null or o.closed_at > $2)
         where ", readable!("o.repository_id"), " and c.child_id in ({list})
         order by c.child_id, o.repository_id, p.digest");

    COUNT_LAYERS_ALL:
        "select state, layers from layer_tally
         union all select state, count(*) from layer where state <> 1 group by state
         union all select 100, count(*) from layer where scanner < $1";
    COUNT_LAYERS_READABLE: concat!(
        "select y.state, y.scanner, count(*) from layer y where exists (
           select 1 from manifest_blob b join occurrence o on o.manifest_id = b.manifest_id
           where b.layer_id = y.id and ", readable!("o.repository_id"), ")
         group by y.state, y.scanner order by y.state, y.scanner");
    COUNT_UNRESOLVED: "select count(*) from reference f where f.state = 1 and $1 = 0";
    /// To who may not read its target, a reference looks the same whether or not the target is there.
    COUNT_UNRESOLVED_READABLE: concat!(
        "select count(*) from reference f
         where (f.state = 1 or (f.state = 0 and not exists (
             select 1 from occurrence o where o.manifest_id = f.resolved_id and ", readable!("o.repository_id"), ")))
           and ", readable!("f.repository_id"));
    COUNT_KITS_INCOMPLETE: concat!(
        "select count(*) from kit k where k.incomplete and exists (
           select 1 from occurrence o where o.manifest_id = k.manifest_id and o.closed_at is null and ", readable!("o.repository_id"), ")");
    /// Claims whose statement says more than could be read of it.
    COUNT_CLAIMS_INCOMPLETE: concat!(
        "select count(*) from claim q where q.incomplete and q.retracted_at is null and ", readable!("q.repository_id"));
    COUNT_OUTSIDE: concat!(
        "select f.edge_kind, count(*) from reference f left join occurrence o on o.id = f.occurrence_id
           join claim q on q.id = f.claim_id and q.retracted_at is null
         where f.state = 2 and o.closed_at is null and ", readable!("f.repository_id"), " group by f.edge_kind order by f.edge_kind");
    /// Uses of artifacts of this registry that do not say which version.
    COUNT_UNVERSIONED: concat!(
        "select count(*) from reference f join claim q on q.id = f.claim_id and q.retracted_at is null
         where f.state = 4 and ", readable!("f.repository_id"));

    COUNT_WORK:
        "select (select count(*) from upload where state = 0), (select count(*) from job where run_at <= $1 or owner is not null),
           (select count(*) from job where run_at > $1 and owner is null), (select count(*) from blob where state = 1)";
    /// The latest moments that were recorded: replicas' clocks differ, and what one has just acknowledged is no future to
    /// another.
    LATEST:
        "select max(at) from (
           select max(at) as at from (select at from audit order by id desc limit 64) a
           union all select max(at) from (select at from tag_event order by seq desc limit 64) t
           union all select max(opened_at) from (select opened_at from occurrence order by id desc limit 64) o) latest";
    AUDIT_INSERT:
        "insert into audit (at, actor, request_id, action, repository_id, digest, tag, detail)
         values ($1, $2, $3, $4, $5, $6, $7, $8)";

    AUDIT_LAST: "select coalesce(max(id), 0) from audit";
    AUDIT_AFTER: "select count(*) from audit where id > $1";
    AUDIT_NEWEST: audit_page!(newest "");
    AUDIT_NEWEST_OF_DIGEST: audit_page!(newest "a.digest = $3 and ");
    AUDIT_NEWEST_OF_REPOSITORY: audit_page!(newest "a.repository_id = $2 and ");
    AUDIT_NEWEST_OF_ACTOR: audit_page!(newest "a.actor = $4 and ");
    AUDIT_NEWEST_OF_ACTION: audit_page!(newest "a.action = $5 and ");
    AUDIT_OLDEST: audit_page!(oldest "");
    AUDIT_OLDEST_OF_DIGEST: audit_page!(oldest "a.digest = $3 and ");
    AUDIT_OLDEST_OF_REPOSITORY: audit_page!(oldest "a.repository_id = $2 and ");
    AUDIT_OLDEST_OF_ACTOR: audit_page!(oldest "a.actor = $4 and ");
    AUDIT_OLDEST_OF_ACTION: audit_page!(oldest "a.action = $5 and ");

    PULL_REPOSITORIES: "select name, id from repository where name in ({list}) order by name";
    /// A number that another server has taken in the same microsecond leaves its row alone.
    PULLS_WRITE:
        "insert into pull (id, repository_id, kind, digest, tag, redirected, actor, address, agent, last_at, pulls)
         values {rows}
         on conflict (id) do update set last_at = excluded.last_at, pulls = excluded.pulls
           where pull.repository_id = excluded.repository_id and pull.digest = excluded.digest";
    PULLS_ALL: pulls_page!("");
    PULLS_OF_DIGEST: pulls_page!("p.digest = $3 and ");
    PULLS_OF_REPOSITORY: pulls_page!("p.repository_id = $2 and ");
    PULLS_OF_ACTOR: pulls_page!("p.actor = $4 and ");
    /// The index alone counts them; only the rows that are shown are read.
    PULLS_NEWEST: concat!(
        "select p.id, r.name, p.kind, p.digest, p.tag, p.redirected, p.actor, p.address, p.agent, p.last_at, p.pulls, x.all_pulls
         from (
           select q.id, count(*) over (partition by q.digest, q.repository_id) as all_pulls,
             row_number() over (partition by q.digest, q.repository_id order by q.id desc) as nth
           from pull q
           where q.kind = 0 and q.id < $2 and ", readable!("q.repository_id"), " and q.digest in ({list})) x
           join pull p on p.id = x.id join repository r on r.id = p.repository_id
         where x.nth <= $3 order by p.id desc");
    PULLS_FORGET: "delete from pull where id in (select id from pull where id < $1 order by id limit $2)";

    /// The columns of a table: name, type, and whether the database numbers its rows by it.
    COPY_COLUMNS_SQLITE: "select name, lower(type), false from pragma_table_info($1) order by cid";
    COPY_COLUMNS_POSTGRES:
        "select cast(column_name as text), cast(data_type as text), is_identity = 'YES' from information_schema.columns
         where table_schema = current_schema() and table_name = $1 order by ordinal_position";
    /// The indexes of a table that are no constraints: name, and the statement that makes it.
    COPY_INDEXES_SQLITE:
        "select name, sql from sqlite_master where type = 'index' and tbl_name = $1 and sql is not null order by name";
    COPY_INDEXES_POSTGRES:
        "select cast(i.indexname as text), i.indexdef from pg_indexes i
         where i.schemaname = current_schema() and i.tablename = $1
           and not exists (select 1 from pg_constraint c where c.conname = i.indexname)
         order by i.indexname";
    COPY_OBJECTS: "select count(*), cast(coalesce(sum(size), 0) as bigint) from blob where state = 0";
    /// What a copy that is cut off leaves in a bucket is deleted as what is left of an upload.
    COPY_PARTS:
        "insert into upload (id, repository_id, object_key, state, received, hash_state, writer, writer_until, created_at,
           created_by, used_at, parts)
         select $1, min(r.id), $1, 1, 0, $2, null, 0, $3, '', $3, $2 from repository r";
    COPY_BEGUN:
        "select u.object_key, b.size, u.parts from upload u join blob b on b.object_key = u.object_key
         where u.state = 1 order by u.id";
    COPY_FORGET: "delete from blob where id = $1";

    CHECK_OPEN_BLOBS:
        "select r.name, m.digest, b.digest, b.media_type from occurrence o
           join repository r on r.id = o.repository_id join manifest m on m.id = o.manifest_id
           join manifest_blob b on b.manifest_id = m.id
         where o.closed_at is null and o.id > 0 and not exists (
           select 1 from blob x join blob_link l on l.blob_id = x.id and l.repository_id = o.repository_id
           where x.digest = b.digest and x.state = 0)
         order by o.id, b.position";
    CHECK_TAGS:
        "select r.name, t.name from tag t join repository r on r.id = t.repository_id
         where t.manifest_id is not null and not exists (
           select 1 from occurrence o
           where o.repository_id = t.repository_id and o.manifest_id = t.manifest_id and o.closed_at is null)
         order by r.name, t.name";
    CHECK_LAYERS:
        "select y.digest, y.state from layer y
         where (y.state in (1, 2) and not exists (select 1 from scan s where s.id = y.scan_id and s.finished_at is not null))
            or (y.state = 0 and not exists (select 1 from job j where j.kind = 0 and j.subject = cast(y.id as text)))
         order by y.id";
    CHECK_FILES:
        "select (select count(*) from layer_file f where not exists (select 1 from scan s where s.id = f.scan_id))
           + (select count(*) from layer_path f where not exists (select 1 from scan s where s.id = f.scan_id))
           + (select count(*) from file_metadata f where not exists (select 1 from scan s where s.id = f.scan_id))
           + (select count(*) from tensor f where not exists (select 1 from scan s where s.id = f.scan_id))
           + (select count(*) from file_md5 f where not exists (select 1 from scan s where s.id = f.scan_id))
           + (select count(*) from file_container f where not exists (select 1 from scan s where s.id = f.scan_id))
           + (select count(*) from adapter f where not exists (select 1 from scan s where s.id = f.scan_id))";
    CHECK_TALLY: "select cast((select count(*) from layer where state = 1) as bigint) - layers from layer_tally where state = 1";
    KEYS_TRACKED: "select object_key from blob union all select object_key from upload";
    MANIFEST_PAGE: "select id, digest, payload from manifest where id > $1 order by id limit $2";

    COVERAGE_LAYERS: concat!(
        layer_gap!(), "y.state = $3 and y.state <> 1 and y.id > $4 and ", layer_seen!(), " order by y.id limit $5");
    COVERAGE_OUTDATED: concat!(
        layer_gap!(), "y.scanner < $3 and (y.scanner, y.id) > ($4, $5) and ", layer_seen!(), " order by y.scanner, y.id limit $6");
    COVERAGE_KITS: concat!(
        "select k.manifest_id, m.digest, k.problem, m.first_at from kit k join manifest m on m.id = k.manifest_id
         where k.incomplete and k.manifest_id > $3 and exists (
           select 1 from occurrence o where o.manifest_id = k.manifest_id and o.closed_at is null
             and ($2 = 0 or o.repository_id = $2) and ", readable!("o.repository_id"), ")
         order by k.manifest_id limit $4");
    COVERAGE_REFERENCES: reference_gap!("f.state = 1 and $1 = 0");
    COVERAGE_REFERENCES_READABLE: reference_gap!(unresolved_readable!());
    COVERAGE_CLAIMS: concat!(
        "select q.id, s.digest, q.problem, q.recorded_at, r.name, m.digest,
           (select min(t.name) from tag t where t.repository_id = q.repository_id and t.manifest_id = q.subject_id)
         from claim q left join statement s on s.id = q.statement_id left join repository r on r.id = q.repository_id
           left join manifest m on m.id = q.subject_id
         where q.incomplete and q.retracted_at is null and q.id > $3 and ($2 = 0 or q.repository_id = $2) and ",
        readable!("q.repository_id"), " order by q.id limit $4");
    /// The first three places of each layer, those that are still there before others, and how many there are.
    COVERAGE_PLACES_OF_LAYERS: concat!(
        "select p.layer_id, r.name, m.digest,
           (select min(t.name) from tag t where t.repository_id = p.repository_id and t.manifest_id = p.manifest_id),
           p.closed_at is not null, p.places
         from (
           select b.layer_id, o.repository_id, o.manifest_id, o.closed_at, count(*) over (partition by b.layer_id) as places,
             row_number() over (partition by b.layer_id
               order by case when o.closed_at is null then 0 else 1 end, o.id, b.position) as nth
           from manifest_blob b join occurrence o on o.manifest_id = b.manifest_id
           where ", readable!("o.repository_id"), " and ($2 = 0 or o.repository_id = $2) and b.layer_id in ({list})) p
           join repository r on r.id = p.repository_id join manifest m on m.id = p.manifest_id
         where p.nth <= 3 order by p.layer_id, p.nth");
    COVERAGE_PLACES_OF_KITS: concat!(
        "select p.manifest_id, r.name, m.digest,
           (select min(t.name) from tag t where t.repository_id = p.repository_id and t.manifest_id = p.manifest_id),
           p.closed_at is not null, p.places
         from (
           select o.repository_id, o.manifest_id, o.closed_at, count(*) over (partition by o.manifest_id) as places,
             row_number() over (partition by o.manifest_id
               order by case when o.closed_at is null then 0 else 1 end, o.id) as nth
           from occurrence o
           where ", readable!("o.repository_id"), " and ($2 = 0 or o.repository_id = $2) and o.manifest_id in ({list})) p
           join repository r on r.id = p.repository_id join manifest m on m.id = p.manifest_id
         where p.nth <= 3 order by p.manifest_id, p.nth");
    COVERAGE_COUNT_LAYERS:
        "select y.state, y.scanner, count(*) from layer y where y.id in (
           select b.layer_id from occurrence o join manifest_blob b on b.manifest_id = o.manifest_id where o.repository_id = $1)
         group by y.state, y.scanner order by y.state, y.scanner";
    COVERAGE_COUNT_UNRESOLVED: concat!(
        "select count(*) from reference f where f.repository_id = $2 and ", unresolved_readable!());
    COVERAGE_COUNT_CLAIMS:
        "select count(*) from claim q where q.incomplete and q.retracted_at is null and q.repository_id = $1";
    COVERAGE_COUNT_KITS:
        "select count(*) from kit k where k.incomplete and exists (
           select 1 from occurrence o where o.manifest_id = k.manifest_id and o.closed_at is null and o.repository_id = $1)";
    COVERAGE_COUNT_OUTSIDE:
        "select f.edge_kind, count(*) from reference f left join occurrence o on o.id = f.occurrence_id
           join claim q on q.id = f.claim_id and q.retracted_at is null
         where f.state = 2 and o.closed_at is null and f.repository_id = $1 group by f.edge_kind order by f.edge_kind";
    COVERAGE_COUNT_UNVERSIONED:
        "select count(*) from reference f join claim q on q.id = f.claim_id and q.retracted_at is null
         where f.state = 4 and f.repository_id = $1";

    REINDEX_FIND:
        "select after_manifest, after_layer, started_at from reindex where repository = $1 and failed = $2 and version = $3";
    REINDEX_BEGIN:
        "insert into reindex (repository, failed, version, after_manifest, after_layer, started_at) values ($1, $2, $3, 0, 0, $4)
         on conflict (repository, failed) do update set version = excluded.version, after_manifest = 0, after_layer = 0,
           started_at = excluded.started_at";
    REINDEX_ADVANCE: "update reindex set after_manifest = $3, after_layer = $4 where repository = $1 and failed = $2";
    REINDEX_END: "delete from reindex where repository = $1 and failed = $2";
    REINDEX_COUNT: concat!("select count(*) from manifest m where ", manifest_in_scope!());
    REINDEX_MANIFESTS: concat!("select m.id from manifest m where ", manifest_in_scope!(), " order by m.id limit $4");
    REINDEX_MANIFEST:
        "select m.digest, m.payload, (select o.media_type from occurrence o where o.manifest_id = m.id order by o.id limit 1),
           exists (select 1 from kit k where k.manifest_id = m.id)
         from manifest m where m.id = $1";
    MANIFEST_READ_AGAIN: "update manifest set shape = $2, artifact_type = $3, subject_id = $4 where id = $1";
    MANIFEST_FORGET_BLOBS: "delete from manifest_blob where manifest_id = $1";
    MANIFEST_FORGET_CHILDREN: "delete from manifest_child where parent_id = $1";
    KIT_FORGET_COMPONENT_LAYERS:
        "delete from component_layer where component_id in (select p.id from component p where p.manifest_id = $1)";
    KIT_FORGET_COMPONENTS: "delete from component where manifest_id = $1";
    KIT_FORGET: "delete from kit where manifest_id = $1";
    REFERENCES_OF_STAY:
        "select f.id, f.claim_id, f.component_position, f.edge_kind, f.declared, f.state, f.resolved_id,
           exists (select 1 from edge e where e.source_id = f.source_id and e.reference_id = f.id)
         from reference f where f.occurrence_id = $1 order by f.id";
    REFERENCE_MOVE: "update reference set component_position = $2 where id = $1";
    BLOBS_LIVE: "select digest from blob where state = 0 and digest in ({list}) order by digest";
    REINDEX_LAYERS:
        "select y.id from layer y
         where y.id > $3 and (y.state <> 3 or y.scan_id is not null) and (y.state in (2, 4) or $2 = false)
           and exists (select 1 from blob b where b.digest = y.digest and b.state = 0)
           and ($1 = '' or exists (
             select 1 from manifest_blob b join occurrence o on o.manifest_id = b.manifest_id
               join repository r on r.id = o.repository_id
             where b.layer_id = y.id and r.name = $1))
         order by y.id limit $4";
    LAYERS_OUTDATED:
        "select y.scanner, y.id, exists (select 1 from blob b where b.digest = y.digest and b.state = 0) from layer y
         where y.scanner < $1 and (y.scanner, y.id) > ($2, $3) order by y.scanner, y.id limit $4";
    /// Those that are due already, or being done, are left as they are: somebody may wait for them.
    SCANS_QUEUE:
        "insert into job (kind, subject, attempts, run_at, lease_until, created_at, priority)
         select 0, cast(y.id as text), 0, cast($1 as bigint), 0, cast($1 as bigint), cast($2 as integer) from layer y
         where y.id in ({list}) order by y.id
         on conflict (kind, subject) do update set priority = excluded.priority, run_at = excluded.run_at
           where job.owner is null and (job.priority > excluded.priority or job.run_at > excluded.run_at)";
    REINDEX_LEFT:
        "select count(case when run_at <= $1 or owner is not null then 1 end),
           count(case when run_at > $1 and owner is null then 1 end)
         from job where priority = 1";
    TALLY_LOCK:
        "insert into layer_tally (state, layers) values (1, 0) on conflict (state) do update set layers = layer_tally.layers";
    TALLY_RECOUNT: "update layer_tally set layers = (select count(*) from layer where state = 1) where state = 1";
}

/// The most values of one `in` list: the rows of the largest page, and a few that tell what is around it.
pub(crate) const LIST: usize = 1024;

/// Writes out `{list}`: `n` placeholders, the first of them `$first`.
pub(crate) fn list(text: &str, first: usize, n: usize) -> String {
    let mut list = String::with_capacity(n * 6);
    for i in 0..n {
        let _ = write!(list, "{}${}", if i == 0 { "" } else { "," }, first + i);
    }
    text.replace("{list}", &list)
}

/// How many placeholders a list of `n` values gets: few different lengths, so that prepared statements are used again.
/// [`filled`] gives the values for them.
pub(crate) fn padded(n: usize) -> usize {
    [1, 4, 16, 64, 256].into_iter().find(|&size| n <= size).unwrap_or(LIST)
}

/// The values of a list, the last of them repeated until there is one for each placeholder.
pub(crate) fn filled<T>(values: &[T]) -> impl Iterator<Item = &T> {
    let more = values.last().into_iter().flat_map(std::iter::repeat);
    values.iter().chain(more).take(padded(values.len()))
}

/// Writes out `{rows}`: `n` rows of `width` placeholders each.
pub(crate) fn rows(engine: &Engine<'_>, text: &str, width: usize, n: usize) -> String {
    if let Engine::Sqlite(_) = engine {
        return text.replace("{rows}", &unnamed(width, n));
    }
    let mut rows = String::with_capacity(n * width * 6);
    for row in 0..n {
        for column in 0..width {
            let before = match (row, column) {
                (0, 0) => "(",
                (_, 0) => "),(",
                _ => ",",
            };
            let _ = write!(rows, "{before}${}", row * width + column + 1);
        }
    }
    rows.push(')');
    text.replace("{rows}", &rows)
}

/// Rows of placeholders for SQLite. They have no names, for it looks each name up among all of them.
fn unnamed(width: usize, n: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(","));
    vec![&*row; n].join(",")
}

/// Reads the rows of a table that fulfil a condition, in the order of its key. Numbers come in one width; the key is named
/// so that its own index gives the order.
pub(crate) fn copy_select(table: &str, columns: &[(&str, bool)], condition: &str, key: &[&str]) -> String {
    let column = |&(name, is_number): &(&str, bool)| match is_number {
        true => format!("cast(t.{name} as bigint)"),
        false => format!("t.{name}"),
    };
    let columns: Vec<_> = columns.iter().map(column).collect();
    let key: Vec<_> = key.iter().map(|name| format!("t.{name}")).collect();
    format!("select {} from {table} t where {condition} order by {}", columns.join(", "), key.join(", "))
}

/// Has SQLite take `n` rows of a table.
pub(crate) fn copy_insert(table: &str, columns: &[&str], n: usize) -> String {
    format!("insert into {table} ({}) values {}", columns.join(", "), unnamed(columns.len(), n))
}

/// Has Postgres take rows of a table in its own binary form.
pub(crate) fn copy_in(table: &str, columns: &[&str]) -> String {
    format!("copy {table} ({}) from stdin (format binary)", columns.join(", "))
}

/// Has Postgres number the next row of a table after those that are there.
pub(crate) fn copy_number(table: &str, column: &str) -> String {
    format!(
        "select setval(pg_get_serial_sequence('{table}', '{column}'), coalesce(max({column}), 0) + 1, false) from {table}"
    )
}

/// A statement with its lists and rows written out, as one that is sent.
pub(crate) fn example(engine: &Engine<'_>, name: &str, text: &str) -> String {
    if text.contains("{rows}") {
        let width = match name {
            "MANIFEST_BLOBS_INSERT" => 8,
            "LAYER_FILES_INSERT" => 5,
            "SEARCH_REPOSITORY_WORDS_INSERT" | "NODES_INSERT" => 3,
            "TENSORS_INSERT" => 6,
            "FILE_CONTAINERS_INSERT" => 2,
            "PULLS_WRITE" | "EDGES_INSERT" => 11,
            "REFERENCES_INSERT" => 18,
            _ => 4,
        };
        return rows(engine, text, width, 2);
    }
    // The list begins after the last placeholder before it.
    let first = (1..10).find(|n| !text.contains(&format!("${n}"))).unwrap_or(1);
    list(text, first, 3)
}
