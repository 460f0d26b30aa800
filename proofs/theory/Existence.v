(** Runs exist: where every node reads values before its own, any value of a region's input begins a run.

    So the statements of Soundness.v are about functions on the whole space of a region's inputs, and none is empty. *)

From Coq Require Import Arith List Lia Reals Lra.
From Lipverify Require Import Sums Vectors Activations Maps Certificate Runs.
Import ListNotations.
Open Scope R_scope.

Definition well_formed (g : graph) : Prop :=
  forall v nd, node_at g v = Some nd -> forall r, In r (reads nd) -> (r < v)%nat.

(** The interpretation gives every pointwise map a function of its kind. *)
Definition admissible (I : interpretation) (g : graph) : Prop :=
  forall v a low high n r, node_at g v = Some (Node (Pointwise a low high n) [r]) ->
    forall i, (i < n)%nat -> stands_for a (function I v i).

(** What a node makes of the values that it reads. *)
Definition meaning (I : interpretation) (v : nat) (nd : node) (env : nat -> vec) : vec :=
  match map_of nd, reads nd with
  | Linear l, [r] => vplus (apply (columns l) (matrix l) (env r)) (bias I v)
  | Pointwise _ _ _ _, [r] => fun i => function I v i (env r i)
  | Certificate.Sum signs _, rs => signed_sum signs (List.map env rs)
  | _, _ => vzero
  end.

Lemma signed_sum_ext signs rs (env env' : nat -> vec) i :
  (forall r, In r rs -> env r i = env' r i) -> signed_sum signs (List.map env rs) i = signed_sum signs (List.map env' rs) i.
Proof.
  revert rs. induction signs as [|plus signs IH]; intros [|r rs] same; cbn; try reflexivity.
  rewrite (same r (or_introl eq_refl)), (IH rs); [reflexivity|]. intros s inside. apply same. right. exact inside.
Qed.

Lemma meaning_ext I v nd env env' :
  (forall r, In r (reads nd) -> forall i, env r i = env' r i) -> forall i, meaning I v nd env i = meaning I v nd env' i.
Proof.
  intros same i. unfold meaning. destruct nd as [[l|a low high n|signs n|n] rs]; cbn [map_of reads] in *.
  - destruct rs as [|r [|]]; try reflexivity. unfold vplus. f_equal. apply apply_ext; intros j _. apply same.
    left. reflexivity.
  - destruct rs as [|r [|]]; try reflexivity. rewrite (same r (or_introl eq_refl)). reflexivity.
  - apply signed_sum_ext. intros s inside. apply same, inside.
  - destruct rs as [|r [|]]; reflexivity.
Qed.

Lemma meaning_agrees I g begin env v nd :
  admissible I g -> node_at g v = Some nd -> (forall i, env v i = meaning I v nd env i) -> v <> begin -> agrees I env v nd.
Proof.
  intros kinds here same _. destruct nd as [[l|a low high n|signs n|n] rs]; unfold agrees, meaning in *;
    cbn [map_of reads] in *.
  - destruct rs as [|r [|]]; try exact Logic.I. intros i _. apply same.
  - destruct rs as [|r [|]]; try exact Logic.I. split; [|intros i _; apply same].
    intros i below. apply (kinds v a low high n r here i below).
  - intros i _. apply same.
  - destruct rs as [|r [|]]; exact Logic.I.
Qed.

Section Evaluate.
  Variables (I : interpretation) (g : graph) (begin : nat) (x : vec).

  (** The value v, by at most [fuel] nodes one after the other. *)
  Fixpoint evaluate (fuel v : nat) : vec :=
    match fuel with
    | O => vzero
    | S less =>
        if v =? begin then x else
        match node_at g v with Some nd => meaning I v nd (evaluate less) | None => vzero end
    end.

  Lemma evaluate_enough : well_formed g -> forall fuel v, (v < fuel)%nat -> forall i, evaluate fuel v i = evaluate (S v) v i.
  Proof.
    intros formed fuel. induction fuel as [fuel IH] using lt_wf_ind. intros v enough i.
    destruct fuel as [|less]; [lia|]. cbn [evaluate]. destruct (v =? begin); [reflexivity|].
    destruct (node_at g v) as [nd|] eqn:here; [|reflexivity]. apply meaning_ext. intros r inside j.
    pose proof (formed v nd here r inside) as before.
    destruct (Nat.eq_dec less v) as [->|other]; [reflexivity|].
    rewrite (IH less) by lia. symmetry. apply IH; lia.
  Qed.

  Theorem run_exists : well_formed g -> admissible I g -> exists env, run I g begin env /\ forall i, env begin i = x i.
  Proof.
    intros formed kinds. exists (fun v => evaluate (S v) v). split.
    - intros v nd here other. apply (meaning_agrees I g begin); try assumption. intros i. cbn [evaluate].
      destruct (Nat.eqb_spec v begin) as [same|_]; [contradiction|]. rewrite here.
      apply meaning_ext. intros r inside j. apply evaluate_enough; [exact formed|]. apply (formed v nd here r inside).
    - intros i. cbn [evaluate]. rewrite Nat.eqb_refl. reflexivity.
  Qed.
End Evaluate.
