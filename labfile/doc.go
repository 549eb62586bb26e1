// Package labfile reads lab files: YAML in, a LabSpec out, with defaults applied, interfaces filled in, the files of web
// servers hashed, and a position for every field so that an error can say where it is.
package labfile
