//! Named bounds of the object model.

/// Unknown and duplicate fields reported for one object; the rest are counted nowhere, as upstream does.
pub const STRICT_ERRORS_MAX: usize = 100;

/// Nesting of a protobuf message. JSON has the same bound from its parser.
pub const PROTOBUF_DEPTH_MAX: usize = 128;

/// Anchors of a YAML body are expanded up to this many nodes, so that a small body cannot become a huge object.
pub const YAML_NODES_MAX: usize = 250_000;
