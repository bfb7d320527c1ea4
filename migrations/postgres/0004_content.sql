-- Files inside layers: found by content and by name. Their paths are read for answers alone, and so are kept in blocks.

alter table layer_file rename to layer_file_before;
alter index layer_file_pkey rename to layer_file_before_pkey;
create table layer_file (
  scan_id bigint not null,
  sha256_head bigint not null, -- the first eight bytes of the hash as a number
  position integer not null,
  name_key integer, -- of the file's name without folders, in lower case; null where an older version did not say
  sha256_tail bytea not null, -- the other 24
  primary key (scan_id, position)
);

-- Sizes and paths of the files from `first` on; `index::file` says how.
create table layer_path (
  scan_id bigint not null,
  first integer not null,
  payload bytea not null,
  primary key (scan_id, first)
);

insert into layer_file (scan_id, position, sha256_head, sha256_tail)
select scan_id, position,
  cast(cast('x' || encode(substring(sha256 from 1 for 8), 'hex') as bit(64)) as bigint),
  substring(sha256 from 9)
from layer_file_before;
insert into layer_path (scan_id, first, payload)
select scan_id, position, convert_to('-' || size || '/', 'UTF8') || path from layer_file_before;
drop table layer_file_before;
create index layer_file_content on layer_file (sha256_head, scan_id);
create index layer_file_name on layer_file (name_key);

-- What files say of themselves: compressed JSON.
create table file_metadata (
  scan_id bigint not null,
  position integer not null,
  format text not null,
  document bytea not null,
  primary key (scan_id, position)
);

-- Files inside of files.
alter table scan add column inner_files bigint not null default 0;
alter table scan add column inner_bytes bigint not null default 0;
alter table scan add column depth_limit integer not null default 0;

-- As layer_file.name_key, of what the manifest calls the layer.
alter table manifest_blob add column name_key integer;
create index manifest_blob_name on manifest_blob (name_key) where name_key is not null;

-- From a file to the layer whose facts it is one of.
create index layer_scan on layer (scan_id) where scan_id is not null;
