//! The lab: hosts in network namespaces, made and removed by the project.
