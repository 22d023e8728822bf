//! Faults that are planted in the code, for a simulation to find.

/// A fault in the code, which a run has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plant {
    /// The database applies a batch that was decided ahead though another batch came in between.
    TagIgnored,
    /// A commit that was applied, and whose answer was lost, is taken for one that was not.
    WrittenTwice,
    /// A caller is answered before its batch is committed.
    AnsweredEarly,
    /// A caller is never answered.
    NeverAnswered,
    /// Rows that earlier batches left are remembered though another program wrote in between.
    RowRemembered,
    /// A deadline is left out when the next one is looked for.
    ExpiryLost,
    /// A page of events is read in the wrong order.
    OrderTurned,
    /// A key is taken to have no row though it has one, and nobody checks.
    AbsenceUnchecked,
    /// A commit that was looked up and not found is applied after all.
    AppliedLate,
    /// A consumer begins an event after it was asked to stop.
    BegunAfterStop,
    /// The settings that an engine knows are taken to be those of every head.
    SettingsKept,
    /// A request is decided whatever settings it was checked with.
    SettingsUnchecked,
}

impl Plant {
    /// All faults.
    pub const ALL: [Plant; 12] = [
        Plant::TagIgnored,
        Plant::WrittenTwice,
        Plant::AnsweredEarly,
        Plant::NeverAnswered,
        Plant::RowRemembered,
        Plant::ExpiryLost,
        Plant::OrderTurned,
        Plant::AbsenceUnchecked,
        Plant::AppliedLate,
        Plant::BegunAfterStop,
        Plant::SettingsKept,
        Plant::SettingsUnchecked,
    ];

    /// The fault's name, as a command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Plant::TagIgnored => "tag-ignored",
            Plant::WrittenTwice => "written-twice",
            Plant::AnsweredEarly => "answered-early",
            Plant::NeverAnswered => "never-answered",
            Plant::RowRemembered => "row-remembered",
            Plant::ExpiryLost => "expiry-lost",
            Plant::OrderTurned => "order-turned",
            Plant::AbsenceUnchecked => "absence-unchecked",
            Plant::AppliedLate => "applied-late",
            Plant::BegunAfterStop => "begun-after-stop",
            Plant::SettingsKept => "settings-kept",
            Plant::SettingsUnchecked => "settings-unchecked",
        }
    }
}
