use std::fmt;

/// What a request wants to do, with Elasticsearch's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// `PUT _rollup/job/{id}`
    Put,
    /// `POST _rollup/job/{id}/_update`, which Elasticsearch has not.
    Update,
    /// `POST _rollup/job/{id}/_start`
    Start,
    /// `POST _rollup/job/{id}/_stop`
    Stop,
    /// `POST _rollup/job/{id}/_trigger`, which Elasticsearch has not.
    Trigger,
    /// `POST _rollup/job/{id}/_refresh`, which Elasticsearch has not.
    Refresh,
    /// `POST _rollup/job/{id}/_verify`, which Elasticsearch has not.
    Verify,
    /// `GET _rollup/job/{id}/_late_data`, which Elasticsearch has not.
    LateData,
    /// `DELETE _rollup/job/{id}`
    Delete,
    /// `GET _rollup/job/{id}`
    Get,
    /// `GET|POST {index}/_rollup_search`; which indices the caller may read is asked for each.
    Search,
    /// `POST _rollup/plan`, which Elasticsearch has not; the same rights as a search.
    Plan,
    /// `GET _rollup/data/{pattern}`
    GetCaps,
    /// `GET {index}/_rollup/data`; which indices the caller may read is asked for each.
    GetIndexCaps,
    /// `POST {index}/_rollup/_note_change`, which Elasticsearch has not.
    NoteChange,
    /// `GET {index}/_rollup/_safe_to_drop`, which Elasticsearch has not.
    SafeToDrop,
    /// `POST {index}/_rollup/_seal`, which Elasticsearch has not.
    Seal,
    /// `POST {index}/_rollup/_raw_dropped`, which Elasticsearch has not.
    RawDropped,
    /// `GET _rollup/openapi.json`, which Elasticsearch has not.
    Describe,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 19] = [
        Self::Put,
        Self::Update,
        Self::Start,
        Self::Stop,
        Self::Trigger,
        Self::Refresh,
        Self::Verify,
        Self::LateData,
        Self::Delete,
        Self::Get,
        Self::Search,
        Self::Plan,
        Self::GetCaps,
        Self::GetIndexCaps,
        Self::NoteChange,
        Self::SafeToDrop,
        Self::Seal,
        Self::RawDropped,
        Self::Describe,
    ];

    /// Elasticsearch's name, such as `cluster:admin/xpack/rollup/stop`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "cluster:admin/xpack/rollup/put",
            Self::Update => "cluster:admin/xpack/rollup/update",
            Self::Start => "cluster:admin/xpack/rollup/start",
            Self::Stop => "cluster:admin/xpack/rollup/stop",
            Self::Trigger => "cluster:admin/xpack/rollup/trigger",
            Self::Refresh => "cluster:admin/xpack/rollup/refresh",
            Self::Verify => "cluster:admin/xpack/rollup/verify",
            Self::LateData => "cluster:monitor/xpack/rollup/late_data",
            Self::Delete => "cluster:admin/xpack/rollup/delete",
            Self::Get => "cluster:monitor/xpack/rollup/get",
            Self::Search => "indices:data/read/xpack/rollup/search",
            Self::Plan => "indices:data/read/xpack/rollup/plan",
            Self::GetCaps => "cluster:monitor/xpack/rollup/get/caps",
            Self::GetIndexCaps => "indices:data/read/xpack/rollup/get/index/caps",
            Self::NoteChange => "cluster:admin/xpack/rollup/note_change",
            Self::SafeToDrop => "cluster:monitor/xpack/rollup/safe_to_drop",
            Self::Seal => "cluster:admin/xpack/rollup/seal",
            Self::RawDropped => "cluster:admin/xpack/rollup/raw_dropped",
            Self::Describe => "cluster:monitor/xpack/rollup/describe",
        }
    }

    /// Whether who may do it depends on the indices that it is about, and not on privileges of the cluster.
    #[must_use]
    pub const fn is_on_indices(self) -> bool {
        matches!(self, Self::Search | Self::Plan | Self::GetIndexCaps)
    }

    /// The privileges of the cluster of which any one grants it, the narrowest first. What is
    /// [on indices](Self::is_on_indices) is granted by the right to read these, too.
    #[must_use]
    pub const fn granted_by(self) -> &'static [Privilege] {
        match self {
            Self::Search | Self::Plan | Self::GetIndexCaps => &[Privilege::All],
            Self::Get | Self::GetCaps | Self::LateData | Self::SafeToDrop | Self::Describe => &[
                Privilege::MonitorRollup,
                Privilege::ManageRollup,
                Privilege::Monitor,
                Privilege::Manage,
                Privilege::All,
            ],
            Self::Put
            | Self::Update
            | Self::Start
            | Self::Stop
            | Self::Trigger
            | Self::Refresh
            | Self::Verify
            | Self::Seal
            | Self::RawDropped
            | Self::Delete
            | Self::NoteChange => &[Privilege::ManageRollup, Privilege::Manage, Privilege::All],
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A cluster privilege of Elasticsearch that has to do with rollup jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Privilege {
    /// Everything, security too.
    All,
    /// Everything about the cluster.
    Manage,
    /// Everything about rollup jobs.
    ManageRollup,
    /// Looking at the cluster.
    Monitor,
    /// Looking at rollup jobs.
    MonitorRollup,
}

impl Privilege {
    /// All privileges.
    pub const ALL: [Self; 5] = [Self::All, Self::Manage, Self::ManageRollup, Self::Monitor, Self::MonitorRollup];

    /// Elasticsearch's name, such as `manage_rollup`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Manage => "manage",
            Self::ManageRollup => "manage_rollup",
            Self::Monitor => "monitor",
            Self::MonitorRollup => "monitor_rollup",
        }
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// No privilege of this name has to do with rollup jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown privilege [{0}]: the ones for rollup jobs are {names}", names = Privilege::ALL.map(Privilege::as_str).join(", "))]
pub struct UnknownPrivilege(String);

impl std::str::FromStr for Privilege {
    type Err = UnknownPrivilege;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|privilege| privilege.as_str() == name)
            .ok_or_else(|| UnknownPrivilege(name.to_owned()))
    }
}
