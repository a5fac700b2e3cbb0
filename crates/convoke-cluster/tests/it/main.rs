//! Clusters of several nodes in one process, over real connections.

mod support;

mod forming;
