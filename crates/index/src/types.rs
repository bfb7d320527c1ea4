//! The index's own words: row ids, moments, readers, and the codes that rows hold.

/// A moment: microseconds since 1970 (UTC) by the registry's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

impl Micros {
    /// The end of time, for "as of now" where nothing later can exist.
    pub const MAX: Self = Self(i64::MAX);
}

/// Whose eyes a statement reads with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader(pub i64);

impl Reader {
    /// Reads every repository.
    pub const ALL: Self = Self(0);
}

macro_rules! ids {
    ($($(#[$about:meta])* $name:ident),* $(,)?) => {
        $($(#[$about])* #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)] pub struct $name(pub i64);)*
    };
}

ids! {
    /// A repository's row.
    RepositoryId,
    /// A node of the graph; a manifest has the id of its digest's node.
    NodeId,
    /// A blob's row.
    BlobId,
    /// A manifest's stay in a repository.
    OccurrenceId,
    /// A layer's row.
    LayerId,
    /// One scan of a layer.
    ScanId,
    /// A job's row.
    JobId,
    /// A claim's row.
    ClaimId,
    /// The row of a statement as it was sent.
    StatementId,
    /// A reference's row.
    ReferenceId,
    /// An edge's row.
    EdgeId,
}

macro_rules! codes {
    ($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $code:literal $text:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$each])* $variant = $code),* }

        impl $name {
            /// The word for it in answers.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The code in a row.
            #[must_use]
            pub const fn code(self) -> i32 {
                self as i32
            }

            /// The value that a row's code stands for.
            ///
            /// # Errors
            /// [`crate::Error::Unreadable`] for a code that this version does not know.
            pub fn from_code(code: i32) -> Result<Self, crate::Error> {
                match code {
                    $($code => Ok(Self::$variant),)*
                    _ => Err(crate::Error::Unreadable(concat!("code of ", stringify!($name)))),
                }
            }

            /// The value that a word stands for.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// How far the registry has come with a layer.
    LayerState {
        /// Its scan is still to come.
        Pending = 0 "pending",
        /// All of it is known.
        Indexed = 1 "indexed",
        /// A broken stream or a limit ended the scan; what was found until then is known.
        Partial = 2 "partial",
        /// It cannot be looked into: encrypted, or its bytes are kept elsewhere.
        Opaque = 3 "opaque",
        /// The scan failed for a reason of the registry's own, and is tried again.
        Failed = 4 "failed",
        /// Its bytes were gone before it was scanned.
        Purged = 5 "purged",
    }
}

codes! {
    /// What an edge says. The order of DESIGN's section 3.
    EdgeKind {
        /// Is in the same kit.
        PackagedWith = 0 "packaged_with",
        /// Was trained on.
        TrainedOn = 1 "trained_on",
        /// Was tested on.
        TestedOn = 2 "tested_on",
        /// Was made from.
        DerivedFrom = 3 "derived_from",
        /// Was built from, as from a commit of its source.
        BuiltFrom = 4 "built_from",
        /// Needed, in a way that nobody says: what one of the two is may tell, once it is known.
        DependsOn = 5 "depends_on",
    }
}

codes! {
    /// How good the evidence is, weakest first.
    Grade {
        /// The same weights or tensors were found elsewhere.
        Matched = 0 "matched",
        /// It is a component of the same kit.
        Packaged = 1 "packaged",
        /// Somebody says so.
        Declared = 2 "declared",
        /// Somebody says so and signed it.
        Attested = 3 "attested",
    }
}

codes! {
    /// Where a claim comes from.
    ClaimKind {
        /// A reference in a Kitfile.
        Kitfile = 0 "kitfile",
        /// A statement that is attached to an artifact.
        Statement = 1 "statement",
        /// An OpenLineage event.
        Event = 2 "event",
        /// A model card.
        ModelCard = 3 "model_card",
        /// An assertion by the API.
        Assertion = 4 "assertion",
        /// The configuration of an adapter.
        AdapterConfig = 5 "adapter_config",
    }
}

codes! {
    /// What became of a reference.
    ReferenceState {
        /// It names a node.
        Resolved = 0 "resolved",
        /// It names something that this registry should have and does not (yet).
        Unresolved = 1 "unresolved",
        /// It names something outside this registry.
        Outside = 2 "outside",
        /// Its kit was deleted before it was resolved.
        GivenUp = 3 "given_up",
        /// It names an artifact of this registry, and no version of it.
        Unversioned = 4 "unversioned",
    }
}

codes! {
    /// What kind of act moved a tag.
    Act {
        /// A client pushed a manifest under it.
        Push = 0 "push",
        /// It was moved on purpose, for a reason.
        Promote = 1 "promote",
        /// It was moved back.
        Rollback = 2 "rollback",
        /// It was deleted, or what it named was.
        Delete = 3 "delete",
    }
}

codes! {
    /// What durable work is to be done.
    JobKind {
        /// Look inside a layer; the subject is the layer's id.
        Scan = 0 "scan",
        /// Forget what a scan found that another has taken the place of; the subject is the scan's id.
        Forget = 2 "forget",
        /// Read the model cards in a layer for those that have it, after the stay and in the layer that the subject names.
        Cards = 3 "cards",
    }
}

codes! {
    /// Which work is done first.
    Priority {
        /// Somebody who has pushed may wait for it.
        Push = 0 "push",
        /// The operator has asked for it.
        Reindex = 1 "reindex",
        /// Nobody waits for it: a newer scanner would see more.
        Outdated = 2 "outdated",
    }
}

codes! {
    /// Where in a kit a word stands.
    Field {
        /// All words of the name, as one.
        WholeName = 0 "whole_name",
        /// The name of the package or of the model.
        Name = 1 "name",
        /// An author.
        Author = 2 "author",
        /// A licence, of the package or of a component.
        Licence = 3 "licence",
        /// A framework.
        Framework = 4 "framework",
        /// The family of models.
        Family = 5 "family",
        /// The format of a model.
        Format = 6 "format",
        /// The version of the package or of a model.
        Version = 7 "version",
        /// The name of any other component.
        Component = 8 "component",
        /// A description.
        Description = 9 "description",
        /// All of the name, without its folders, that a file has in the manifest or the kit.
        File = 10 "file",
    }
}
