-- What kits are found by. Words are split, folded and compared by the registry and not by the engine's own text search, so
-- that both engines find the same; all of it can be written again from `kit.document` and the repositories' names.

-- 0 when it is still to be done, as for kits that were pushed before; 1 done; 2 done, and cut at a limit.
alter table kit add column searchable integer not null default 0;
create index kit_searchable on kit (searchable, manifest_id) where searchable <> 1;
alter table repository add column searchable integer not null default 0;
create index repository_searchable on repository (searchable, id) where searchable <> 1;

-- The words of a kit in their order. Between two texts a position is left out, so that no phrase goes from one to the next.
create table kit_word (
  manifest_id integer not null references manifest (id),
  position integer not null,
  field integer not null, -- 0 whole name, 1 name, 2 author, 3 licence, 4 framework, 5 family, 6 format, 7 version, 8 component, 9 description,
    -- 10 the whole name of a file, as the manifest or the kit calls it
  word text not null,
  primary key (manifest_id, position)
) without rowid;
create index kit_word_word on kit_word (word, field, manifest_id, position);

-- The leaves of the parameters of a kit's components. The elements of a list all have the name of the list.
create table kit_parameter (
  manifest_id integer not null references manifest (id),
  position integer not null,
  pointer blob not null, -- such as training.epochs
  value blob not null,
  primary key (manifest_id, position)
) without rowid;
create index kit_parameter_value on kit_parameter (pointer, value, manifest_id);

create table repository_word (
  repository_id integer not null references repository (id),
  position integer not null, -- -1 is the whole name
  word text not null,
  primary key (repository_id, position)
) without rowid;
create index repository_word_word on repository_word (word, repository_id, position);
