(* What may stand at a place of a file: the fields of an object, texts, lists, shapes. [Refused] for anything else. *)

open Refusal

let find pairs key =
  let rec from i =
    if i = Array.length pairs then None else if fst pairs.(i) = key then Some (snd pairs.(i)) else from (i + 1)
  in
  from 0

(* The field of that name, Null where it is absent or [value] is no object. *)
let get value key =
  match value with Json.Object pairs -> Option.value (find pairs key) ~default:Json.Null | _ -> Json.Null

(* An object with all required keys and no others than these and the optional ones; its fields by name. *)
let fields ?(optional = []) value where required =
  match value with
  | Json.Object pairs ->
      List.iter (fun key -> if find pairs key = None then refused "%s has no %s" where (Text.repr key)) required;
      Array.iter
        (fun (key, _) ->
          if not (List.mem key required || List.mem key optional) then
            refused "%s has the unknown key %s" where (Text.repr (Text.prefix 40 key)))
        pairs;
      get value
  | _ -> refused "%s is no object" where

let text value where =
  match value with
  | Json.Text s when Text.length s <= 4096 -> s
  | _ -> refused "%s is no text of at most 4096 characters" where

let list ?length value where =
  match value with
  | Json.List items when length = None || length = Some (Array.length items) -> items
  | _ ->
      let of_length = match length with None -> "" | Some n -> Printf.sprintf " of %d" n in
      refused "%s is no list%s" where of_length

let truth value = match value with Json.Bool b -> Some b | _ -> None
let largest = Z.shift_left Z.one 40

let natural value where =
  match value with
  | Json.Integer z when Z.sign z >= 0 && Z.lt z largest -> Z.to_int z
  | _ -> refused "%s holds %s, no natural number" where (Text.prefix 40 (Json.shown value))

let naturals ?length value where =
  Array.to_list (Array.map (fun n -> natural n where) (list ?length value where))

let product = List.fold_left ( * ) 1
let product_z shape = List.fold_left (fun p n -> Z.mul p (Z.of_int n)) Z.one shape

let shape value where =
  let found = naturals value where in
  if List.length found > 16 || Z.gt (product_z found) largest then refused "%s is too large a shape" where;
  found

(* [before, after] of each of so many axes. *)
let pads value where axes =
  let pair value = match naturals ~length:2 value where with [ a; b ] -> (a, b) | _ -> assert false in
  Array.to_list (Array.map pair (list ~length:axes value where))

(* [p, q] as p / q. *)
let ratio value where =
  match list ~length:2 value where with
  | [| Json.Integer p; Json.Integer q |] when Z.sign q > 0 -> Q.make p q
  | _ -> refused "%s is no ratio [p, q]" where

(* A shape as Python writes it. *)
let tuple shape =
  match shape with
  | [ n ] -> Printf.sprintf "(%d,)" n
  | _ -> "(" ^ String.concat ", " (List.map string_of_int shape) ^ ")"
