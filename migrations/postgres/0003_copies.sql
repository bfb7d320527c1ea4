-- Copies of a registry that are under way.

-- The mark of the store that rows and objects are being copied from. Null: they are whole. Until then nothing is served.
alter table store add column copy_of text;
