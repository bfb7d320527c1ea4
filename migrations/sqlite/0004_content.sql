-- Files inside layers: found by content and by name. Their paths are read for answers alone, and so are kept in blocks.

alter table layer_file rename to layer_file_before;
create table layer_file (
  scan_id integer not null,
  sha256_head integer not null, -- the first eight bytes of the hash as a number
  position integer not null,
  name_key integer, -- of the file's name without folders, in lower case; null where an older version did not say
  sha256_tail blob not null, -- the other 24
  primary key (scan_id, position)
) without rowid;

-- Sizes and paths of the files from `first` on; `index::file` says how.
create table layer_path (
  scan_id integer not null,
  first integer not null,
  payload blob not null,
  primary key (scan_id, first)
);

insert into layer_file (scan_id, position, sha256_head, sha256_tail)
select scan_id, position,
  ((instr('123456789ABCDEF', substr(hex(sha256), 1, 1))) << 60) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 2, 1))) << 56) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 3, 1))) << 52) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 4, 1))) << 48) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 5, 1))) << 44) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 6, 1))) << 40) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 7, 1))) << 36) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 8, 1))) << 32) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 9, 1))) << 28) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 10, 1))) << 24) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 11, 1))) << 20) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 12, 1))) << 16) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 13, 1))) << 12) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 14, 1))) << 8) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 15, 1))) << 4) |
  ((instr('123456789ABCDEF', substr(hex(sha256), 16, 1))) << 0),
  substr(sha256, 9)
from layer_file_before;
insert into layer_path (scan_id, first, payload)
select scan_id, position, cast('-' || size || '/' || path as blob) from layer_file_before;
drop table layer_file_before;
create index layer_file_content on layer_file (sha256_head, scan_id);
create index layer_file_name on layer_file (name_key);

-- What files say of themselves: compressed JSON.
create table file_metadata (
  scan_id integer not null,
  position integer not null,
  format text not null,
  document blob not null,
  primary key (scan_id, position)
);

-- Files inside of files.
alter table scan add column inner_files integer not null default 0;
alter table scan add column inner_bytes integer not null default 0;
alter table scan add column depth_limit integer not null default 0;

-- As layer_file.name_key, of what the manifest calls the layer.
alter table manifest_blob add column name_key integer;
create index manifest_blob_name on manifest_blob (name_key) where name_key is not null;

-- From a file to the layer whose facts it is one of.
create index layer_scan on layer (scan_id) where scan_id is not null;
