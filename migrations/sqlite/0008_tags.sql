-- What kind of act moved a tag, so that it can be moved back.

alter table tag_event add column act integer not null default 0; -- 0 push, 1 promotion, 2 rollback, 3 deletion
-- Of a rollback to the last good version: the event that made the tag name it before. What the tag named since then was passed
-- over for a reason, and is not returned to.
alter table tag_event add column reverts integer;
update tag_event set act = 3 where kind = 1;

-- What a tag names and since when: pushing again what it names changes nothing.
create index tag_event_change on tag_event (repository_id, name, at)
  where manifest_id is null or previous_id is null or manifest_id <> previous_id;
