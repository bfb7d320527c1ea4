-- Who says what: statements that are attached to artifacts, events, model cards, and what people assert.

-- A statement as it was sent, signature and all. Its bytes outlive the blob or the request that they came in.
create table statement (
  id integer primary key autoincrement,
  key blob not null unique, -- a hash of all that it depends on: its type, what is signed apart from it, and its bytes
  digest blob not null,
  media_type blob not null,
  payload blob not null,
  first_at integer not null
);

-- A claim may be about what is no manifest (yet), or of no repository here; so may what it refers to.
create table claim_now (
  id integer primary key autoincrement,
  kind integer not null, -- 0 Kitfile, 1 attached statement, 2 OpenLineage event, 3 model card, 4 by the API
  repository_id integer references repository (id),
  manifest_id integer references manifest (id), -- the kit, or what carries the statement
  position integer, -- of its layer that is the statement
  subject_id integer references node (id), -- what it is about
  statement_id integer references statement (id),
  run blob, -- of an OpenLineage event
  format text,
  predicate_type blob,
  problem blob,
  actor text not null,
  occurred_at integer,
  recorded_at integer not null,
  retracted_at integer,
  retracted_by text,
  retraction blob -- why
);
insert into claim_now (id, kind, repository_id, manifest_id, subject_id, actor, occurred_at, recorded_at, retracted_at)
select id, kind, repository_id, manifest_id, manifest_id, actor, occurred_at, recorded_at, retracted_at from claim;

create table reference_now (
  id integer primary key autoincrement,
  claim_id integer not null references claim_now (id),
  repository_id integer references repository (id),
  occurrence_id integer references occurrence (id), -- the stay whose kit says it; null: a statement does
  source_id integer not null references node (id),
  component_position integer, -- of the kit's component that says it
  edge_kind integer not null,
  word blob, -- how the statement calls the relation
  name blob, -- and the target
  declared blob not null,
  host blob,
  target_repository text,
  target_tag text,
  target_digest blob,
  state integer not null, -- 0 resolved, 1 unresolved, 2 outside this registry, 3 given up with its occurrence, 4 of no known version
  assumed boolean not null,
  late boolean not null,
  resolved_id integer references node (id),
  resolved_at integer
);
insert into reference_now (id, claim_id, repository_id, occurrence_id, source_id, component_position, edge_kind, declared, host,
  target_repository, target_tag, target_digest, state, assumed, late, resolved_id, resolved_at)
select id, claim_id, repository_id, occurrence_id, manifest_id, component_position, edge_kind, declared, host,
  target_repository, target_tag, target_digest, state, assumed, late, resolved_id, resolved_at from reference;

create table edge_now (
  id integer primary key autoincrement,
  kind integer not null, -- 0 packaged_with, 1 trained_on, 2 tested_on, 3 derived_from, 4 built_from, 5 depends_on
  grade integer not null, -- 0 matched, 1 packaged, 2 declared, 3 attested
  source_id integer not null references node (id),
  occurrence_id integer references occurrence (id), -- the stay that it holds for; null: all of them
  everywhere boolean not null default false, -- in every repository, and not in the claim's alone
  target_id integer not null references node (id),
  claim_id integer not null references claim_now (id),
  reference_id integer references reference_now (id),
  repository_id integer references repository (id),
  occurred_at integer,
  recorded_at integer not null,
  retracted_at integer
);
insert into edge_now (id, kind, grade, source_id, occurrence_id, everywhere, target_id, claim_id, reference_id, repository_id,
  occurred_at, recorded_at, retracted_at)
select id, kind, grade, source_id, occurrence_id, occurrence_id is null, target_id, claim_id, reference_id, repository_id,
  occurred_at, recorded_at, retracted_at from edge;

drop table edge;
drop table reference;
drop table claim;
alter table claim_now rename to claim;
alter table reference_now rename to reference;
alter table edge_now rename to edge;

create index reference_occurrence on reference (occurrence_id) where occurrence_id is not null;
create index reference_unresolved on reference (target_repository, target_tag) where state = 1;
create index reference_outside on reference (host) where state = 2;
create index reference_source on reference (source_id);
create index reference_claim on reference (claim_id);
create index reference_unversioned on reference (id) where state = 4;
create index edge_target on edge (target_id, kind);
create index edge_source on edge (source_id);
create index edge_claim on edge (claim_id);
-- What is decided again when one of its ends arrives.
create index edge_undecided_target on edge (target_id) where kind = 5 and retracted_at is null;
create index edge_undecided_source on edge (source_id) where kind = 5 and retracted_at is null;
create index claim_subject on claim (subject_id, kind);
create index claim_statement on claim (statement_id, repository_id, subject_id) where statement_id is not null;

-- What became of the signature of a claim's statement, by what was trusted then.
create table verification (
  id integer primary key autoincrement,
  claim_id integer not null references claim (id),
  trust blob not null, -- the fingerprint of what was trusted
  verified boolean not null,
  signer text,
  reason blob, -- why it is not verified
  signed_at integer,
  recorded_at integer not null,
  ended_at integer -- when another outcome took its place
);
create index verification_claim on verification (claim_id);
create index verification_trust on verification (trust, claim_id) where ended_at is null;

-- Runs that OpenLineage events are about: the lock under which the events of one meet.
create table run (
  id blob primary key,
  job_namespace blob not null,
  job_name blob not null,
  state text not null, -- of its last event that ended it, else of its last one
  completed_at integer, -- by the producer's word
  first_at integer not null
) without rowid;
create index claim_run on claim (run) where run is not null;
