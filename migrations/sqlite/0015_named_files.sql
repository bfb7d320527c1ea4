-- What somebody named by a digest may be an archive inside of a layer, whose files are known: it is found by this, as those are.

alter table node add column sha256_head integer; -- the first eight bytes of a SHA-256 as a number
update node set sha256_head =
  ((instr('123456789ABCDEF', substr(hex(key), 1, 1))) << 60) |
  ((instr('123456789ABCDEF', substr(hex(key), 2, 1))) << 56) |
  ((instr('123456789ABCDEF', substr(hex(key), 3, 1))) << 52) |
  ((instr('123456789ABCDEF', substr(hex(key), 4, 1))) << 48) |
  ((instr('123456789ABCDEF', substr(hex(key), 5, 1))) << 44) |
  ((instr('123456789ABCDEF', substr(hex(key), 6, 1))) << 40) |
  ((instr('123456789ABCDEF', substr(hex(key), 7, 1))) << 36) |
  ((instr('123456789ABCDEF', substr(hex(key), 8, 1))) << 32) |
  ((instr('123456789ABCDEF', substr(hex(key), 9, 1))) << 28) |
  ((instr('123456789ABCDEF', substr(hex(key), 10, 1))) << 24) |
  ((instr('123456789ABCDEF', substr(hex(key), 11, 1))) << 20) |
  ((instr('123456789ABCDEF', substr(hex(key), 12, 1))) << 16) |
  ((instr('123456789ABCDEF', substr(hex(key), 13, 1))) << 12) |
  ((instr('123456789ABCDEF', substr(hex(key), 14, 1))) << 8) |
  ((instr('123456789ABCDEF', substr(hex(key), 15, 1))) << 4) |
  ((instr('123456789ABCDEF', substr(hex(key), 16, 1))) << 0)
where kind = 0 and length(key) = 32 and not is_manifest;
create index node_named_file on node (is_manifest, sha256_head) where is_manifest = false and sha256_head is not null;

-- Promotions that were refused are told in the history of their tag.

create index audit_refused on audit (repository_id, tag, at, id) where action = 'tag.promote.refused';
