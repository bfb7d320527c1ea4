-- Files that others were found inside of: what they hold counts where files are counted, and they do not.

create table file_container (
  scan_id bigint not null,
  position integer not null, -- as in layer_file
  primary key (scan_id, position)
);
