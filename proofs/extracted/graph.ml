(* The graph of a certificate: values, and the maps that compute them. [Refused] where it is no graph. *)

open Refusal

type node = { value : string; map : Maps.map; reads : string list }

type t = {
  input : string;
  shape : int list;
  nodes : node array;
  index : (string, int) Hashtbl.t;  (* of every value: 0 is the input, k + 1 what node k makes *)
}

let find graph value =
  match Hashtbl.find_opt graph.index value with Some k when k > 0 -> Some graph.nodes.(k - 1) | _ -> None

let shape_of graph value =
  match find graph value with Some node -> node.map.output | None -> graph.shape

(* [Disproved] where the digest is another one. *)
let read value =
  let get = Reading.fields value "the graph" [ "input"; "shape"; "nodes"; "sha256" ] in
  let stated = Json.Object [| ("input", get "input"); ("shape", get "shape"); ("nodes", get "nodes") |] in
  if get "sha256" <> Json.Text (Json.digest stated) then
    disproved "the digest of the graph is not that of its nodes";
  let input = Reading.text (get "input") "the graph's input" in
  let shape = Reading.shape (get "shape") "the graph's shape" in
  let index = Hashtbl.create 64 and shapes = Hashtbl.create 64 in
  Hashtbl.add index input 0;
  Hashtbl.add shapes input shape;
  let node k entry =
    let get = Reading.fields entry "a node" [ "value"; "map"; "reads" ] in
    let value = Reading.text (get "value") "a node's value" in
    let where = Printf.sprintf "the node %s" (Text.repr value) in
    if Hashtbl.mem index value then refused "%s is computed twice" where;
    let read item =
      let name = Reading.text item where in
      if not (Hashtbl.mem index name) then
        refused "%s reads %s, which is not computed before it" where (Text.repr name);
      name
    in
    let reads = Array.to_list (Array.map read (Reading.list (get "reads") where)) in
    let map = Maps.read (get "map") (List.map (Hashtbl.find shapes) reads) where in
    Hashtbl.add index value (k + 1);
    Hashtbl.add shapes value map.output;
    { value; map; reads }
  in
  { input; shape; nodes = Array.mapi node (Reading.list (get "nodes") "the graph's nodes"); index }
