-- The registry's first schema. `migrations/postgres` has the same tables and columns; a test compares them.
--
-- Times are microseconds since 1970 (UTC) by the registry's clock. Digests are stored as their hash: 32 bytes are
-- SHA-256, 64 are SHA-512. Text that clients choose freely is stored as bytes, for it may hold NUL, which Postgres's text
-- refuses; names whose grammar excludes that are text.

-- The store whose objects the rows below are about; it bears the same mark.
create table store (
  mark text primary key
) without rowid;

-- Names, and who may read them. Reader 0 reads everything and has no rows.
create table repository (
  id integer primary key autoincrement,
  name text not null unique,
  created_at integer not null
);

create table reader_repository (
  reader integer not null,
  repository_id integer not null references repository (id),
  primary key (reader, repository_id)
) without rowid;

-- Bytes. A blob's row exists while its object does; a link makes it visible in a repository.
create table blob (
  id integer primary key autoincrement,
  digest blob not null unique,
  size integer not null,
  object_key text not null unique,
  state integer not null, -- 0 live, 1 deleting
  created_at integer not null,
  review_at integer -- since when nobody may need it; the collector looks at it some time later. Null: it is needed
);
create index blob_review on blob (review_at) where review_at is not null;
create index blob_deleting on blob (id) where state = 1;

create table blob_link (
  repository_id integer not null references repository (id),
  blob_id integer not null references blob (id),
  created_at integer not null,
  primary key (repository_id, blob_id)
) without rowid;
create index blob_link_blob on blob_link (blob_id);

-- An object's key stands here before the object is created, so that nothing in the store is untracked.
create table upload (
  id text primary key,
  repository_id integer not null references repository (id),
  object_key text not null unique,
  state integer not null, -- 0 open, 1 discarded: only its object remains to be deleted
  received integer not null,
  hash_state blob not null,
  writer text, -- the request that is writing now
  writer_until integer not null,
  created_at integer not null,
  created_by text not null,
  used_at integer not null
) without rowid;
create index upload_used on upload (used_at);

-- Nodes of the graph: a digest (whether or not its manifest ever arrived) or an external identity. Never deleted.
create table node (
  id integer primary key autoincrement,
  kind integer not null, -- 0 digest, 1 external
  key blob not null,
  unique (kind, key)
);

create table manifest (
  id integer primary key references node (id),
  digest blob not null unique,
  shape integer not null, -- 0 image manifest, 1 index
  artifact_type blob,
  subject_id integer references node (id),
  size integer not null,
  payload blob not null,
  first_at integer not null
);
create index manifest_subject on manifest (subject_id) where subject_id is not null;

-- A manifest's stay in a repository: a push opens it, a delete closes it, another push opens another.
create table occurrence (
  id integer primary key autoincrement,
  repository_id integer not null references repository (id),
  manifest_id integer not null references manifest (id),
  media_type blob not null,
  opened_at integer not null,
  opened_by text not null,
  closed_at integer,
  closed_by text
);
create unique index occurrence_open on occurrence (repository_id, manifest_id) where closed_at is null;
create index occurrence_manifest on occurrence (manifest_id, repository_id);

-- A tag's row outlives the tag (manifest_id null), for it is the lock under which the tag's events are ordered.
create table tag (
  repository_id integer not null references repository (id),
  name text not null,
  manifest_id integer references manifest (id),
  last_at integer not null,
  primary key (repository_id, name)
) without rowid;
create index tag_manifest on tag (manifest_id, repository_id);

create table tag_event (
  seq integer primary key autoincrement,
  repository_id integer not null references repository (id),
  name text not null,
  at integer not null,
  kind integer not null, -- 0 moved, 1 deleted
  manifest_id integer references manifest (id),
  previous_id integer references manifest (id),
  actor text not null,
  reason blob
);
create index tag_event_tag on tag_event (repository_id, name, at, seq);
create index tag_event_manifest on tag_event (manifest_id, repository_id);

-- What is inside a layer. Facts are timeless and outlive the bytes; `scan_id` names the scan whose facts serve.
create table layer (
  id integer primary key autoincrement,
  digest blob not null unique,
  size integer not null,
  state integer not null, -- 0 pending, 1 indexed, 2 partial, 3 opaque, 4 failed, 5 purged before it was scanned
  reason blob,
  scan_id integer,
  scanner integer -- the version that made the facts which serve
);
create index layer_open on layer (state) where state <> 1;
create index layer_scanner on layer (scanner);

create table scan (
  id integer primary key autoincrement,
  layer_id integer not null references layer (id),
  scanner integer not null,
  state integer not null, -- as layer.state
  reason blob,
  form text not null,
  diff_id blob,
  tree blob,
  contents blob,
  files integer not null,
  bytes integer not null,
  skipped integer not null,
  entry_limit integer not null,
  byte_limit integer not null,
  started_at integer not null,
  finished_at integer
);
create index scan_layer on scan (layer_id);
create index scan_diff on scan (diff_id) where diff_id is not null;
create index scan_tree on scan (tree) where tree is not null;
create index scan_contents on scan (contents) where contents is not null;

create table layer_file (
  scan_id integer not null,
  position integer not null,
  sha256 blob not null,
  size integer not null,
  path blob not null,
  primary key (scan_id, position)
) without rowid;
create index layer_file_sha256 on layer_file (sha256, scan_id);

-- What a manifest is made of, as it says itself; the bytes may be gone.
create table manifest_blob (
  manifest_id integer not null references manifest (id),
  position integer not null, -- -1 is the config, layers count from 0
  digest blob not null,
  size integer not null,
  media_type blob not null,
  path blob, -- what the manifest calls the file or folder in it
  layer_id integer references layer (id),
  primary key (manifest_id, position)
) without rowid;
create index manifest_blob_digest on manifest_blob (digest);
create index manifest_blob_layer on manifest_blob (layer_id, manifest_id) where layer_id is not null;

create table manifest_child (
  parent_id integer not null references manifest (id),
  position integer not null,
  child_id integer not null references node (id),
  media_type blob not null,
  primary key (parent_id, position)
) without rowid;
create index manifest_child_child on manifest_child (child_id, parent_id);

-- What a manifest means.
create table kit (
  manifest_id integer primary key references manifest (id),
  kind text not null,
  is_model boolean not null,
  name blob,
  version blob,
  document blob not null,
  problem blob,
  incomplete boolean not null -- components or references may be missing because of it
);
create index kit_incomplete on kit (manifest_id) where incomplete;

create table component (
  id integer primary key autoincrement,
  manifest_id integer not null references manifest (id),
  position integer not null,
  role text not null,
  name blob,
  path blob,
  remote blob,
  unique (manifest_id, position)
);

create table component_layer (
  component_id integer not null references component (id),
  position integer not null,
  manifest_id integer not null,
  layer_position integer not null,
  primary key (component_id, position)
) without rowid;
create index component_layer_layer on component_layer (manifest_id, layer_position);

-- How many layers are in a state that nearly all are in, so that nobody counts millions of rows.
create table layer_tally (
  state integer primary key,
  layers integer not null
);
insert into layer_tally (state, layers) values (1, 0);

-- Who said what: a claim makes edges. The raw statement is the manifest (or blob) that it points at.
create table claim (
  id integer primary key autoincrement,
  kind integer not null, -- 0 Kitfile
  repository_id integer not null references repository (id),
  manifest_id integer references manifest (id),
  actor text not null,
  occurred_at integer,
  recorded_at integer not null,
  retracted_at integer
);

-- The name of each repository that was pushed to or referred to: the lock under which a reference and its target meet.
create table arrival (
  name text primary key
) without rowid;

-- A reference to another artifact as it was declared, and what it was resolved to, once.
create table reference (
  id integer primary key autoincrement,
  claim_id integer not null references claim (id),
  repository_id integer not null references repository (id),
  occurrence_id integer not null references occurrence (id),
  manifest_id integer not null references manifest (id),
  component_position integer not null,
  edge_kind integer not null,
  declared blob not null,
  host blob,
  target_repository text,
  target_tag text,
  target_digest blob,
  state integer not null, -- 0 resolved, 1 unresolved, 2 outside this registry, 3 given up with its occurrence
  assumed boolean not null,
  late boolean not null,
  resolved_id integer references node (id),
  resolved_at integer
);
create index reference_occurrence on reference (occurrence_id);
create index reference_unresolved on reference (target_repository, target_tag) where state = 1;
create index reference_outside on reference (host) where state = 2;

-- Use and derivation. From an occurrence (null: from its digest wherever it is) to a node.
create table edge (
  id integer primary key autoincrement,
  kind integer not null, -- 0 packaged_with, 1 trained_on, 2 tested_on, 3 derived_from
  grade integer not null, -- 0 matched, 1 packaged, 2 declared, 3 attested
  source_id integer not null references manifest (id),
  occurrence_id integer references occurrence (id),
  target_id integer not null references node (id),
  claim_id integer not null references claim (id),
  reference_id integer references reference (id),
  repository_id integer not null references repository (id),
  occurred_at integer,
  recorded_at integer not null,
  retracted_at integer
);
create index edge_target on edge (target_id, kind);
create index edge_source on edge (source_id);

-- Durable work. A claimed job has a lease; when that runs out the job is anyone's again.
create table job (
  id integer primary key autoincrement,
  kind integer not null, -- 0 scan a layer, 1 delete a discarded object
  subject text not null,
  attempts integer not null,
  reason blob,
  run_at integer not null,
  owner text,
  lease_until integer not null,
  created_at integer not null,
  unique (kind, subject)
);
create index job_run on job (kind, run_at);

create table audit (
  id integer primary key autoincrement,
  at integer not null,
  actor text not null,
  request_id text not null,
  action text not null,
  repository_id integer references repository (id),
  digest blob,
  tag text,
  detail blob
);
create index audit_repository on audit (repository_id, id);
