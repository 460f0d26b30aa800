(* Arithmetic on arrays, as far as its form and its shapes go: the numbers that it makes are not computed here. *)

open Refusal

let two = [ "add"; "sub"; "mul"; "div" ]
let one = [ "neg"; "sqrt"; "square"; "abs"; "reciprocal" ]
let max_folded = 1 lsl 24

(* The shape of two arrays that broadcast to each other. *)
let both a b =
  let rank = max (List.length a) (List.length b) in
  let full shape = List.init (rank - List.length shape) (fun _ -> 1) @ shape in
  let a = full a and b = full b in
  if List.exists2 (fun m n -> m <> n && m <> 1 && n <> 1) a b then
    refused "shapes %s and %s do not broadcast" (Reading.tuple a) (Reading.tuple b);
  let made = List.map2 (fun m n -> if m = 1 then n else m) a b in
  let size = Reading.product_z made in
  if Z.gt size (Z.of_int max_folded) then refused "a folded array of %s numbers" (Z.to_string size);
  made

(* The shape of an expression's value. [leaf] reads an array and gives its shape; [spend] is told what each operation
   makes. [Refused] where it is no expression. *)
let rec shape expression ~leaf ~spend =
  let of_ operand = shape operand ~leaf ~spend in
  let cost made = spend (Z.mul (Z.of_int 8) (Reading.product_z made)) in
  match expression with
  | Json.Object _ -> leaf expression
  | Json.List [| Text "sum"; operand; axes |] ->
      let before = of_ operand in
      cost before;
      let axes = Reading.naturals axes "the axes of a sum" in
      if List.exists (fun axis -> axis >= List.length before) axes then refused "a sum over an axis that is not there";
      List.mapi (fun axis n -> if List.mem axis axes then 1 else n) before
  | Json.List [| Text op; operand |] when List.mem op one ->
      let made = of_ operand in
      cost made;
      made
  | Json.List [| Text op; left; right |] when List.mem op two ->
      let a = of_ left in
      cost a;
      let made = both a (of_ right) in
      cost made;
      made
  | other ->
      let op = match other with Json.List items when items <> [||] -> items.(0) | _ -> Json.Null in
      refused "%s is no arithmetic on weights" (Text.prefix 40 (Json.shown op))
